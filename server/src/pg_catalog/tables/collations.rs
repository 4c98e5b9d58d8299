//! `pg_collation`: those that are known here.

pub(super) const DATA: &str = include_str!("../data/pg_collation.tsv");

pub(super) fn listed() -> impl Iterator<Item = (u32, &'static str)> {
    DATA.lines().filter_map(|line| {
        let mut fields = line.split('\t');
        Some((fields.next()?.parse().ok()?, fields.next()?))
    })
}

pub(in crate::pg_catalog) fn oid(name: &str) -> Option<u32> {
    listed().find(|(_, listed)| *listed == name).map(|(oid, _)| oid)
}

pub(in crate::pg_catalog) fn name(oid: u32) -> Option<&'static str> {
    listed().find(|(listed, _)| *listed == oid).map(|(_, name)| name)
}
