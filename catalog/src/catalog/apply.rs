//! The catalog that a change makes of another: a deterministic function that refuses what would
//! break what holds in every catalog.

use std::{collections::HashSet, sync::Arc};

use glaredb_txn::ids::TableId;

use super::{Catalog, Named, TEMPORARY_SCHEMA};
use crate::{
    CatalogChange, ChangeError, ObjectKind,
    descriptor::{
        COLUMNS_MAX, DESCRIPTOR_BYTES_MAX, NAME_BYTES_MAX, Oid, RelationKind, Table, builtin,
    },
};

impl Catalog {
    /// The catalog after `change`. Costs time for what changes, and next to nothing for what stays.
    pub fn apply(&self, change: &CatalogChange) -> Result<Self, ChangeError> {
        let mut next = self.clone();
        next.next_oid = next.next_oid.max(change.next_oid);
        next.next_table_id = next.next_table_id.max(change.next_table_id);
        let created: HashSet<Oid> = change.created.iter().copied().collect();

        next.drop_objects(change)?;
        next.put_databases(change, &created)?;
        next.put_roles(change, &created)?;
        next.put_schemas(change, &created)?;
        next.put_tables(change, &created)?;
        next.check_references(change)?;
        Ok(next)
    }

    fn drop_objects(&mut self, change: &CatalogChange) -> Result<(), ChangeError> {
        let missing = |kind, oid: &Oid| ChangeError::NoSuchObject { kind, oid: *oid };
        for oid in &change.drop_tables {
            let table =
                self.tables.remove(oid).ok_or_else(|| missing(ObjectKind::Relation, oid))?;
            self.unlink(&table);
        }
        for oid in &change.drop_schemas {
            let schema = Arc::make_mut(&mut self.schemas)
                .remove(oid)
                .ok_or_else(|| missing(ObjectKind::Schema, oid))?;
            self.temporary = self.temporary.filter(|temporary| temporary != oid);
            if let Some(names) = Arc::make_mut(&mut self.names).remove(oid)
                && let Some(relation) = names.keys().next()
            {
                let (schema, relation) = (schema.name.clone(), relation.to_string());
                return Err(ChangeError::SchemaNotEmpty { schema, relation });
            }
        }
        for oid in &change.drop_roles {
            Arc::make_mut(&mut self.roles)
                .remove(oid)
                .ok_or_else(|| missing(ObjectKind::Role, oid))?;
        }
        for oid in &change.drop_databases {
            Arc::make_mut(&mut self.databases)
                .remove(oid)
                .ok_or_else(|| missing(ObjectKind::Database, oid))?;
        }
        Ok(())
    }

    fn put_databases(
        &mut self,
        change: &CatalogChange,
        created: &HashSet<Oid>,
    ) -> Result<(), ChangeError> {
        for new in &change.upsert_databases {
            let kind = ObjectKind::Database;
            self.check_oid(kind, new.oid, created, self.databases.contains_key(&new.oid))?;
            check_name(kind, &new.name)?;
            Arc::make_mut(&mut self.databases).insert(new.oid, Arc::new(new.clone()));
        }
        check_unique(
            ObjectKind::Database,
            change.upsert_databases.is_empty(),
            self.databases.values().map(|database| database.name.as_str()),
        )
    }

    fn put_roles(
        &mut self,
        change: &CatalogChange,
        created: &HashSet<Oid>,
    ) -> Result<(), ChangeError> {
        for new in &change.upsert_roles {
            let kind = ObjectKind::Role;
            self.check_oid(kind, new.oid, created, self.roles.contains_key(&new.oid))?;
            check_name(kind, &new.name)?;
            Arc::make_mut(&mut self.roles).insert(new.oid, Arc::new(new.clone()));
        }
        check_unique(
            ObjectKind::Role,
            change.upsert_roles.is_empty(),
            self.roles.values().map(|role| role.name.as_str()),
        )
    }

    fn put_schemas(
        &mut self,
        change: &CatalogChange,
        created: &HashSet<Oid>,
    ) -> Result<(), ChangeError> {
        for new in &change.upsert_schemas {
            let kind = ObjectKind::Schema;
            self.check_oid(kind, new.oid, created, self.schemas.contains_key(&new.oid))?;
            check_name(kind, &new.name)?;
            if new.name.strip_prefix(TEMPORARY_SCHEMA).is_some_and(|rest| rest.starts_with('_')) {
                self.temporary = Some(new.oid);
            }
            Arc::make_mut(&mut self.schemas).insert(new.oid, Arc::new(new.clone()));
        }
        check_unique(
            ObjectKind::Schema,
            change.upsert_schemas.is_empty(),
            self.schemas.values().map(|schema| schema.name.as_str()),
        )
    }

    fn put_tables(
        &mut self,
        change: &CatalogChange,
        created: &HashSet<Oid>,
    ) -> Result<(), ChangeError> {
        // All old descriptors leave first, so that tables may exchange names.
        for new in &change.upsert_tables {
            let old = self.tables.get(&new.oid).cloned();
            self.check_oid(ObjectKind::Relation, new.oid, created, old.is_some())?;
            let Some(old) = old else { continue };
            if new.version <= old.version {
                let (table, current, given) = (old.name.clone(), old.version, new.version);
                return Err(ChangeError::VersionNotNewer { table, current, given });
            }
            self.tables.remove(&new.oid);
            self.unlink(&old);
        }
        for new in &change.upsert_tables {
            check_table(new)?;
            self.link(new)?;
        }
        Ok(())
    }

    /// A created object must be new, any other must be there; no two share an OID.
    fn check_oid(
        &self,
        kind: ObjectKind,
        oid: Oid,
        created: &HashSet<Oid>,
        exists: bool,
    ) -> Result<(), ChangeError> {
        match (created.contains(&oid), exists) {
            (true, true) => Err(ChangeError::AlreadyThere { kind, oid }),
            (false, false) => Err(ChangeError::NoSuchObject { kind, oid }),
            (false, true) => Ok(()),
            (true, false) => self.check_new_oid(oid),
        }
    }

    fn check_new_oid(&self, oid: Oid) -> Result<(), ChangeError> {
        if oid == 0
            || self.databases.contains_key(&oid)
            || self.roles.contains_key(&oid)
            || self.schemas.contains_key(&oid)
            || self.tables.contains_key(&oid)
            || self.inner_oids.contains_key(&oid)
        {
            return Err(ChangeError::OidTaken { oid });
        }
        if oid >= builtin::FIRST_USER_OID && oid >= self.next_oid {
            return Err(ChangeError::OidNotCounted { oid, next_oid: self.next_oid });
        }
        Ok(())
    }

    fn link(&mut self, table: &Arc<Table>) -> Result<(), ChangeError> {
        if table.is_stored() {
            if table.storage == TableId::CATALOG || table.storage >= self.next_table_id {
                let (storage, next) = (table.storage, self.next_table_id);
                return Err(ChangeError::StorageNotCounted { storage, next });
            }
            if let Some(oid) = self.storages.insert(table.storage, table.oid) {
                return Err(ChangeError::StorageTaken { storage: table.storage, oid });
            }
        }
        for oid in table.oids() {
            self.check_new_oid(oid)?;
            if oid != table.oid {
                self.inner_oids.insert(oid, table.oid);
            }
        }
        self.tables.insert(table.oid, table.clone());
        if table.view.is_some() {
            self.views.insert(table.oid, ());
        }
        if table.columns.iter().any(|column| column.composite.is_some()) {
            self.composed.insert(table.oid, ());
        }
        self.take_name(table.schema_oid, &table.name, Named::Table(table.oid))?;
        if let Some(key) = &table.primary_key {
            self.take_name(table.schema_oid, &key.name, Named::KeyOf(table.oid))?;
        }
        Ok(())
    }

    fn take_name(&mut self, schema_oid: Oid, name: &str, named: Named) -> Result<(), ChangeError> {
        let schemas = Arc::make_mut(&mut self.names);
        match schemas.entry(schema_oid).or_default().insert(name.into(), named) {
            None => Ok(()),
            Some(_) => {
                Err(ChangeError::NameTaken { kind: ObjectKind::Relation, name: name.into() })
            }
        }
    }

    /// What views read exists, and so do the columns they use.
    fn check_views(&self, change: &CatalogChange) -> Result<(), ChangeError> {
        let kind = ObjectKind::Relation;
        let changed: HashSet<Oid> = change
            .drop_tables
            .iter()
            .copied()
            .chain(change.upsert_tables.iter().map(|table| table.oid))
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        for reader in self.views() {
            let Some(view) = &reader.view else { continue };
            let is_new = changed.contains(&reader.oid);
            for relation in &view.relations {
                if !is_new && !changed.contains(&relation.oid) {
                    continue;
                }
                let by = || reader.name.clone();
                let Some(read) = self.tables.get(&relation.oid) else {
                    return Err(ChangeError::StillNeeded { kind, oid: relation.oid, by: by() });
                };
                let mut used = relation.columns.iter().filter(|column| column.used);
                if let Some(gone) = used.find(|column| read.column_by_id(column.id).is_none()) {
                    let (table, column, by) = (read.name.clone(), gone.name.clone(), by());
                    return Err(ChangeError::ColumnStillNeeded { table, column, by });
                }
            }
        }
        Ok(())
    }

    /// The relations whose row types columns have exist.
    fn check_composites(&self, change: &CatalogChange) -> Result<(), ChangeError> {
        let kind = ObjectKind::Relation;
        for table in &change.upsert_tables {
            for composite in table.columns.iter().filter_map(|c| c.composite.as_ref()) {
                if let Some(oid) =
                    composite.relations().into_iter().find(|oid| !self.tables.contains_key(oid))
                {
                    let by = table.name.clone();
                    return Err(ChangeError::StillNeeded { kind, oid, by });
                }
            }
        }
        for oid in &change.drop_tables {
            if let Some((table, _)) = self.columns_of_type(*oid).first() {
                let by = table.name.clone();
                return Err(ChangeError::StillNeeded { kind, oid: *oid, by });
            }
        }
        Ok(())
    }

    /// The table is no longer in `tables`; the maps that follow from it forget it too.
    fn unlink(&mut self, table: &Table) {
        if table.is_stored() {
            self.storages.remove(&table.storage);
        }
        self.views.remove(&table.oid);
        self.composed.remove(&table.oid);
        for oid in table.oids() {
            self.inner_oids.remove(&oid);
        }
        let schemas = Arc::make_mut(&mut self.names);
        if let Some(names) = schemas.get_mut(&table.schema_oid) {
            names.remove(table.name.as_str());
            if let Some(key) = &table.primary_key {
                names.remove(key.name.as_str());
            }
            if names.is_empty() {
                schemas.remove(&table.schema_oid);
            }
        }
    }

    /// What the change brought refers to what exists, and what it dropped nobody needs.
    fn check_references(&self, change: &CatalogChange) -> Result<(), ChangeError> {
        let owner = |oid| match self.roles.contains_key(&oid) {
            true => Ok(()),
            false => Err(ChangeError::NoSuchObject { kind: ObjectKind::Role, oid }),
        };
        change.upsert_databases.iter().try_for_each(|database| owner(database.owner))?;
        change.upsert_schemas.iter().try_for_each(|schema| owner(schema.owner))?;
        for table in &change.upsert_tables {
            owner(table.owner)?;
            if !self.schemas.contains_key(&table.schema_oid) {
                let (kind, oid) = (ObjectKind::Schema, table.schema_oid);
                return Err(ChangeError::NoSuchObject { kind, oid });
            }
        }
        self.check_views(change)?;
        self.check_composites(change)?;
        for oid in &change.drop_roles {
            let by = (self.databases.values().find(|d| d.owner == *oid).map(|d| &d.name))
                .or_else(|| self.schemas.values().find(|s| s.owner == *oid).map(|s| &s.name))
                .or_else(|| self.tables.values().find(|t| t.owner == *oid).map(|t| &t.name));
            if let Some(by) = by {
                let (kind, oid, by) = (ObjectKind::Role, *oid, by.clone());
                return Err(ChangeError::StillNeeded { kind, oid, by });
            }
        }
        Ok(())
    }
}

fn check_name(kind: ObjectKind, name: &str) -> Result<(), ChangeError> {
    let reason = match name {
        "" => "it has no name".to_owned(),
        name if name.len() > NAME_BYTES_MAX => {
            format!("its name has {} bytes, {NAME_BYTES_MAX} are allowed", name.len())
        }
        name if name.contains('\0') => "its name contains a zero byte".to_owned(),
        _ => return Ok(()),
    };
    Err(ChangeError::Malformed { kind, name: name.into(), reason })
}

/// Objects of these kinds are few; their names are compared anew when one of them changed.
fn check_unique<'a>(
    kind: ObjectKind,
    unchanged: bool,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), ChangeError> {
    let mut seen = HashSet::new();
    for name in names.take(if unchanged { 0 } else { usize::MAX }) {
        if !seen.insert(name) {
            return Err(ChangeError::NameTaken { kind, name: name.into() });
        }
    }
    Ok(())
}

/// What must hold within one table's descriptor.
fn check_table(table: &Table) -> Result<(), ChangeError> {
    let kind = ObjectKind::Relation;
    check_name(kind, &table.name)?;
    let malformed =
        |reason: String| Err(ChangeError::Malformed { kind, name: table.name.clone(), reason });
    let has_query = matches!(table.kind, RelationKind::View | RelationKind::MaterializedView);
    if has_query != table.view.is_some() {
        return malformed("it is a table with a query, or a view without one".to_owned());
    }
    if !table.is_stored() && (table.storage != TableId::CATALOG || table.primary_key.is_some()) {
        return malformed("it is a view or a type with a storage or a key".to_owned());
    }
    for column in &table.dropped {
        let live = table.columns.iter().any(|live| live.id == column.id);
        if live || column.id == 0 || column.id >= table.next_column_id {
            return malformed(format!("dropped column {} is a column, or was none", column.id));
        }
    }
    if table.columns.len() > COLUMNS_MAX {
        let count = table.columns.len();
        return malformed(format!("it has {count} columns, {COLUMNS_MAX} are allowed"));
    }
    let (mut names, mut ids, mut last) = (HashSet::new(), HashSet::new(), 0);
    for column in &table.columns {
        check_name(kind, &column.name)?;
        if !names.insert(column.name.as_str()) {
            return malformed(format!("column \"{}\" appears twice", column.name));
        }
        if column.id == 0 || column.id >= table.next_column_id || !ids.insert(column.id) {
            let (name, id, next) = (&column.name, column.id, table.next_column_id);
            return malformed(format!(
                "column \"{name}\" has id {id}, which is zero, not below {next}, or taken"
            ));
        }
        if column.number <= last {
            return malformed(format!(
                "column \"{}\" has number {} behind {last}",
                column.name, column.number
            ));
        }
        last = column.number;
        if column.default.is_some() != (column.default_oid != 0) {
            return malformed(format!(
                "column \"{}\" has a default without an OID or an OID without a default",
                column.name
            ));
        }
    }
    let bytes = table.encode().len();
    if bytes > DESCRIPTOR_BYTES_MAX {
        return malformed(format!(
            "its descriptor has {bytes} bytes, {DESCRIPTOR_BYTES_MAX} are allowed"
        ));
    }
    let Some(key) = &table.primary_key else { return Ok(()) };
    check_name(kind, &key.name)?;
    let mut in_key = HashSet::new();
    for id in &key.columns {
        match table.column_by_id(*id) {
            None => return malformed(format!("its key names column {id}, which it has not")),
            Some(column) if !in_key.insert(id) => {
                return malformed(format!("its key names column \"{}\" twice", column.name));
            }
            Some(column) if !column.not_null => {
                return malformed(format!("key column \"{}\" may be null", column.name));
            }
            Some(_) => {}
        }
    }
    if key.columns.is_empty() {
        return malformed("its key has no columns".into());
    }
    Ok(())
}
