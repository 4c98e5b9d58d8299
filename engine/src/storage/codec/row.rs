//! Rows as the log carries them: a null bitmap and varints, tens of bytes for a small row. Which
//! columns there are says the schema version beside the rows. Format: `docs/formats/rows.md`.
