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
    /// Settings that the server's command line made, by name.
    defaults: Vec<(String, String)>,
}

impl Sessions {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, defaults: Vec::new() }
    }

    /// What a setting is in sessions that do not set it.
    pub(crate) fn set_default(&mut self, name: &str, value: String) {
        self.defaults.push((name.to_owned(), value));
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
        // Later ones win.
        let settings = [&self.defaults[..], &parameters.settings].concat();
        Session::new(self.engine.clone(), identity, &settings)
    }
}
