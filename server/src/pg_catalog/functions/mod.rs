//! The functions of `pg_catalog` that need to know the catalog or the session.

mod definitions;
mod names;
mod privileges;
mod session;
mod sizes;
mod system_function;

use std::sync::Arc;

use glaredb_engine::query::functions::ExtraFunction;

pub(super) use self::session::now_us;
use super::{Activities, StorageFigures};
use system_function::Functions;

pub(super) fn all(
    figures: &Arc<dyn StorageFigures>,
    activities: &Arc<dyn Activities>,
) -> Vec<ExtraFunction> {
    let mut functions = Functions::default();
    names::add(&mut functions);
    definitions::add(&mut functions);
    privileges::add(&mut functions);
    session::add(&mut functions, activities);
    sizes::add(&mut functions, figures);
    functions.into_vec()
}
