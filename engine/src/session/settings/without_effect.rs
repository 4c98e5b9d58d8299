//! Settings of PostgreSQL that change nothing here: applications set them, and nobody needs to know.
//!
//! They take the values that PostgreSQL 15 takes, are shown and obey transactions, and
//! `pg_settings.short_desc` says that they have no effect. A setting that changes what a statement
//! answers, or what is kept of it, never belongs here.

use super::table::{Kind, Parameter, parameter};

const PLANNER: &str = "No effect: plans are made by other rules than PostgreSQL's.";
const MEMORY: &str = "No effect: memory is one bounded pool, see --memory-limit.";
const PARALLEL: &str = "No effect: queries are spread over the threads of the server.";
const COMPILER: &str = "No effect: expressions are not compiled.";
const PAGES: &str = "No effect: there are no files of pages.";
const VACUUM: &str = "No effect: there is nothing to freeze and no cost-based delay.";
const STRINGS: &str =
    "No effect: strings take backslashes literally, so there is nothing to warn of.";

const MAX: i64 = i32::MAX as i64;

/// By name. Types, bounds and defaults are those of PostgreSQL 15.
pub(super) static WITHOUT_EFFECT: [Parameter; 81] = [
    parameter("backend_flush_after", Kind::Pages(0, 256), "0", PAGES),
    parameter(
        "constraint_exclusion",
        Kind::Enum(&["partition", "on", "off"]),
        "partition",
        PLANNER,
    ),
    parameter("cpu_index_tuple_cost", Kind::Real(0.0, f64::MAX), "0.005", PLANNER),
    parameter("cpu_operator_cost", Kind::Real(0.0, f64::MAX), "0.0025", PLANNER),
    parameter("cpu_tuple_cost", Kind::Real(0.0, f64::MAX), "0.01", PLANNER),
    parameter("cursor_tuple_fraction", Kind::Real(0.0, 1.0), "0.1", PLANNER),
    parameter("default_statistics_target", Kind::Int(1, 10_000), "100", PLANNER),
    parameter("default_toast_compression", Kind::Enum(&["pglz", "lz4"]), "pglz", PAGES),
    parameter("effective_cache_size", Kind::Pages(1, MAX), "4GB", PLANNER),
    parameter("effective_io_concurrency", Kind::Int(0, 1_000), "1", PAGES),
    parameter("enable_async_append", Kind::Bool, "on", PLANNER),
    parameter("enable_bitmapscan", Kind::Bool, "on", PLANNER),
    parameter("enable_gathermerge", Kind::Bool, "on", PLANNER),
    parameter("enable_hashagg", Kind::Bool, "on", PLANNER),
    parameter("enable_hashjoin", Kind::Bool, "on", PLANNER),
    parameter("enable_incremental_sort", Kind::Bool, "on", PLANNER),
    parameter("enable_indexonlyscan", Kind::Bool, "on", PLANNER),
    parameter("enable_material", Kind::Bool, "on", PLANNER),
    parameter("enable_memoize", Kind::Bool, "on", PLANNER),
    parameter("enable_mergejoin", Kind::Bool, "on", PLANNER),
    parameter("enable_nestloop", Kind::Bool, "on", PLANNER),
    parameter("enable_parallel_append", Kind::Bool, "on", PLANNER),
    parameter("enable_parallel_hash", Kind::Bool, "on", PLANNER),
    parameter("enable_partition_pruning", Kind::Bool, "on", PLANNER),
    parameter("enable_partitionwise_aggregate", Kind::Bool, "off", PLANNER),
    parameter("enable_partitionwise_join", Kind::Bool, "off", PLANNER),
    parameter("enable_seqscan", Kind::Bool, "on", PLANNER),
    parameter("enable_sort", Kind::Bool, "on", PLANNER),
    parameter("enable_tidscan", Kind::Bool, "on", PLANNER),
    parameter("escape_string_warning", Kind::Bool, "on", STRINGS),
    parameter("force_parallel_mode", Kind::Enum(&["off", "on", "regress"]), "off", PARALLEL),
    parameter("from_collapse_limit", Kind::Int(1, MAX), "8", PLANNER),
    parameter("geqo", Kind::Bool, "on", PLANNER),
    parameter("geqo_effort", Kind::Int(1, 10), "5", PLANNER),
    parameter("geqo_generations", Kind::Int(0, MAX), "0", PLANNER),
    parameter("geqo_pool_size", Kind::Int(0, MAX), "0", PLANNER),
    parameter("geqo_seed", Kind::Real(0.0, 1.0), "0", PLANNER),
    parameter("geqo_selection_bias", Kind::Real(1.5, 2.0), "2", PLANNER),
    parameter("geqo_threshold", Kind::Int(2, MAX), "12", PLANNER),
    parameter("gin_fuzzy_search_limit", Kind::Int(0, MAX), "0", MEMORY),
    parameter("gin_pending_list_limit", Kind::Kilobytes(64, MAX), "4MB", MEMORY),
    parameter("hash_mem_multiplier", Kind::Real(1.0, 1000.0), "2", MEMORY),
    parameter("jit", Kind::Bool, "on", COMPILER),
    parameter("jit_above_cost", Kind::Real(-1.0, f64::MAX), "100000", COMPILER),
    parameter("jit_dump_bitcode", Kind::Bool, "off", COMPILER),
    parameter("jit_expressions", Kind::Bool, "on", COMPILER),
    parameter("jit_inline_above_cost", Kind::Real(-1.0, f64::MAX), "500000", COMPILER),
    parameter("jit_optimize_above_cost", Kind::Real(-1.0, f64::MAX), "500000", COMPILER),
    parameter("jit_tuple_deforming", Kind::Bool, "on", COMPILER),
    parameter("join_collapse_limit", Kind::Int(1, MAX), "8", PLANNER),
    parameter("logical_decoding_work_mem", Kind::Kilobytes(64, MAX), "64MB", MEMORY),
    parameter("maintenance_io_concurrency", Kind::Int(0, 1_000), "10", PAGES),
    parameter("maintenance_work_mem", Kind::Kilobytes(1_024, MAX), "64MB", MEMORY),
    parameter("max_parallel_maintenance_workers", Kind::Int(0, 1_024), "2", PARALLEL),
    parameter("max_parallel_workers", Kind::Int(0, 1_024), "8", PARALLEL),
    parameter("max_parallel_workers_per_gather", Kind::Int(0, 1_024), "2", PARALLEL),
    parameter("max_stack_depth", Kind::Kilobytes(100, MAX), "2MB", MEMORY),
    parameter("min_parallel_index_scan_size", Kind::Pages(0, 715_827_882), "512kB", PARALLEL),
    parameter("min_parallel_table_scan_size", Kind::Pages(0, 715_827_882), "8MB", PARALLEL),
    parameter("parallel_leader_participation", Kind::Bool, "on", PARALLEL),
    parameter("parallel_setup_cost", Kind::Real(0.0, f64::MAX), "1000", PARALLEL),
    parameter("parallel_tuple_cost", Kind::Real(0.0, f64::MAX), "0.1", PARALLEL),
    parameter("random_page_cost", Kind::Real(0.0, f64::MAX), "4", PLANNER),
    parameter("recursive_worktable_factor", Kind::Real(0.001, 1e6), "10", PLANNER),
    parameter("seq_page_cost", Kind::Real(0.0, f64::MAX), "1", PLANNER),
    parameter("synchronize_seqscans", Kind::Bool, "on", PLANNER),
    parameter("temp_buffers", Kind::Pages(100, 1_073_741_823), "8MB", MEMORY),
    parameter("temp_file_limit", Kind::Kilobytes(-1, MAX), "-1", MEMORY),
    parameter("temp_tablespaces", Kind::Text, "", PAGES),
    parameter("vacuum_cost_delay", Kind::RealMilliseconds(0.0, 100.0), "0", VACUUM),
    parameter("vacuum_cost_limit", Kind::Int(1, 10_000), "200", VACUUM),
    parameter("vacuum_cost_page_dirty", Kind::Int(0, 10_000), "20", VACUUM),
    parameter("vacuum_cost_page_hit", Kind::Int(0, 10_000), "1", VACUUM),
    parameter("vacuum_cost_page_miss", Kind::Int(0, 10_000), "2", VACUUM),
    parameter("vacuum_failsafe_age", Kind::Int(0, 2_100_000_000), "1600000000", VACUUM),
    parameter("vacuum_freeze_min_age", Kind::Int(0, 1_000_000_000), "50000000", VACUUM),
    parameter("vacuum_freeze_table_age", Kind::Int(0, 2_000_000_000), "150000000", VACUUM),
    parameter("vacuum_multixact_failsafe_age", Kind::Int(0, 2_100_000_000), "1600000000", VACUUM),
    parameter("vacuum_multixact_freeze_min_age", Kind::Int(0, 1_000_000_000), "5000000", VACUUM),
    parameter(
        "vacuum_multixact_freeze_table_age",
        Kind::Int(0, 2_000_000_000),
        "150000000",
        VACUUM,
    ),
    parameter("work_mem", Kind::Kilobytes(64, MAX), "4MB", MEMORY),
];
