//! Sessions of the engine for whoever connects.

use std::sync::Arc;

use glaredb_engine::{
    error::SqlError,
    session::{Engine, Identity, Session},
};

use crate::wire::{SessionFactory, StartupParameters};

/// Opens sessions on one engine.
pub(crate) struct Sessions {
    engine: Arc<Engine>,
}

impl Sessions {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

impl SessionFactory for Sessions {
    type Session = Session;

    /// Everybody on an allowed address is trusted; role and database must exist.
    async fn connect(&self, parameters: StartupParameters) -> Result<Session, SqlError> {
        let identity = Identity {
            role: parameters.user,
            database: parameters.database,
            process_id: parameters.backend_pid,
        };
        Session::new(self.engine.clone(), identity, &parameters.settings)
    }
}
