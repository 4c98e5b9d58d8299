use super::*;

fn settings() -> Settings {
    Settings::new([]).expect("the defaults are valid")
}

fn set(settings: &mut Settings, name: &str, value: &str) -> Result<String, SqlError> {
    settings.set(name, Some(&[value.to_owned()]), false)?;
    settings.show(name).map(str::to_owned)
}

#[test]
fn parameters_are_sorted_and_their_defaults_valid() {
    let names: Vec<String> = parameters().iter().map(|p| p.name.to_ascii_lowercase()).collect();
    assert!(names.is_sorted(), "{names:?}");
    for parameter in parameters() {
        let shown = parameter.validate(&[parameter.default.to_owned()], parameter.default);
        assert_eq!(shown.as_deref(), Ok(parameter.default), "{}", parameter.name);
    }
}

#[test]
fn values_are_validated_and_shown_as_postgres_does() {
    let mut s = settings();
    for (name, value, shown) in [
        ("statement_timeout", "1500", "1500ms"),
        ("statement_timeout", "2 min", "2min"),
        ("work_mem", "65536", "64MB"),
        ("timezone", "america/new_york", "America/New_York"),
        ("datestyle", "European", "ISO, DMY"),
        ("datestyle", "postgres", "Postgres, DMY"),
        ("datestyle", "german", "German, DMY"),
        ("datestyle", "ymd, sql", "SQL, YMD"),
        ("datestyle", "default", "ISO, MDY"),
        ("intervalstyle", "Postgres_Verbose", "postgres_verbose"),
        ("client_encoding", "utf-8", "UTF8"),
        ("client_encoding", "'utf-8'", "UTF8"),
        ("client_encoding", "iso-8859-1", "LATIN1"),
        ("jit", "true", "on"),
        ("search_path", "s1, \"Two\"", "s1, \"Two\""),
        ("search_path", "", "\"\""),
        ("log_min_duration_statement", "-1", "-1"),
        ("log_min_duration_statement", "2s", "2s"),
        ("lc_messages", "en_us.utf-8", "en_US.UTF-8"),
        ("role", "postgres", "postgres"),
        ("role", "none", "none"),
    ] {
        assert_eq!(set(&mut s, name, value).as_deref(), Ok(shown), "{name} = {value}");
    }
    for (name, value, state) in [
        ("nonsense", "1", "42704"),
        ("statement_timeout", "soon", "22023"),
        ("statement_timeout", "-1", "22023"),
        ("extra_float_digits", "4", "22023"),
        ("timezone", "Mars/Olympus", "22023"),
        ("datestyle", "iso, sql", "22023"),
        ("datestyle", "dmy, mdy", "22023"),
        ("datestyle", "chinese", "22023"),
        ("server_version", "16", "55P02"),
        ("default_transaction_isolation", "chaos", "22023"),
        ("client_encoding", "sjis", "0A000"),
        ("client_encoding", "latin11", "22023"),
        ("work_mem", "1kB", "22023"),
        ("lc_time", "de_DE", "22023"),
        ("role", "nobody", "22023"),
        ("session_authorization", "nobody", "22023"),
        ("idle_session_timeout", "-1", "22023"),
    ] {
        assert_eq!(set(&mut s, name, value).expect_err(name).sqlstate, state, "{name} = {value}");
    }
}

#[test]
fn settings_follow_their_transaction() {
    let mut s = settings();
    s.begin();
    set(&mut s, "timezone", "Asia/Tokyo").expect("a zone");
    s.set("work_mem", Some(&["8MB".to_owned()]), true).expect("a size");
    assert_eq!(s.show("work_mem"), Ok("8MB"));
    s.end(true);
    assert_eq!((s.show("timezone"), s.show("work_mem")), (Ok("Asia/Tokyo"), Ok("4MB")));
    s.begin();
    set(&mut s, "timezone", "UTC").expect("a zone");
    s.end(false);
    assert_eq!(s.show("timezone"), Ok("Asia/Tokyo"));
    assert_eq!(s.derived().format.time_zone, TimeZone::parse_name("Asia/Tokyo").expect("a zone"));
    s.reset_all().expect("defaults are valid");
    assert_eq!(s.show("TimeZone"), Ok("UTC"));
}

#[test]
fn start_up_parameters_are_what_reset_goes_back_to() {
    let mut s = Settings::new([("TimeZone", "Asia/Tokyo")]).expect("a zone");
    set(&mut s, "timezone", "UTC").expect("a zone");
    s.set("timezone", None, false).expect("the default");
    assert_eq!(s.show("timezone"), Ok("Asia/Tokyo"));
    assert_eq!(Settings::new([("colour", "red")]).expect_err("unknown").sqlstate, "42704");
}

#[test]
fn what_has_no_effect_takes_the_values_that_postgresql_takes() {
    let mut s = settings();
    for (name, value, shown) in [
        ("enable_hashagg", "false", "off"),
        ("cpu_tuple_cost", "1e-3", "0.001"),
        ("parallel_setup_cost", "1000000", "1e+06"),
        ("geqo_threshold", "12.4", "12"),
        ("geqo_threshold", "0x10", "16"),
        ("effective_cache_size", "8MB", "8MB"),
        ("effective_cache_size", "100", "800kB"),
        ("min_parallel_table_scan_size", "0", "0"),
        ("work_mem", "1.5MB", "1536kB"),
        ("temp_file_limit", "-1", "-1"),
        ("constraint_exclusion", "ON", "on"),
        ("force_parallel_mode", "regress", "regress"),
        ("jit_above_cost", "-1", "-1"),
        ("vacuum_cost_delay", "1500us", "1.5ms"),
    ] {
        assert_eq!(set(&mut s, name, value).as_deref(), Ok(shown), "{name} = {value}");
    }
    for (name, value, message) in [
        (
            "work_mem",
            "1kB",
            "1 kB is outside the valid range for parameter \"work_mem\" (64 .. 2147483647)",
        ),
        (
            "temp_buffers",
            "1",
            "1 8kB is outside the valid range for parameter \"temp_buffers\" (100 .. 1073741823)",
        ),
        ("geqo_seed", "2", "2 is outside the valid range for parameter \"geqo_seed\" (0 .. 1)"),
        (
            "cpu_tuple_cost",
            "-1",
            "-1 is outside the valid range for parameter \"cpu_tuple_cost\" (0 .. 1.79769e+308)",
        ),
        ("geqo_effort", "much", "invalid value for parameter \"geqo_effort\": \"much\""),
        ("work_mem", "8 PB", "invalid value for parameter \"work_mem\": \"8 PB\""),
        ("random_page_cost", "NaN", "invalid value for parameter \"random_page_cost\": \"NaN\""),
        ("enable_sort", "maybe", "parameter \"enable_sort\" requires a Boolean value"),
    ] {
        let error = set(&mut s, name, value).expect_err(name);
        assert_eq!((error.sqlstate, error.message.as_str()), ("22023", message));
    }
}

#[test]
fn notices_below_the_least_wanted_are_not_sent() {
    let mut s = settings();
    assert!(s.derived().least_notice.sends("NOTICE"));
    set(&mut s, "client_min_messages", "warning").expect("a level");
    let least = s.derived().least_notice;
    assert!(!least.sends("NOTICE") && least.sends("WARNING") && least.sends("INFO"));
    set(&mut s, "client_min_messages", "error").expect("a level");
    assert!(!s.derived().least_notice.sends("WARNING"));
}
