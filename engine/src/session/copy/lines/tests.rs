use super::*;

fn text() -> Dialect {
    Dialect { csv: false, delimiter: b'\t', null: b"\\N".to_vec(), quote: b'"', escape: b'"' }
}

fn csv() -> Dialect {
    Dialect { csv: true, delimiter: b',', null: Vec::new(), quote: b'"', escape: b'"' }
}

fn fields(dialect: &Dialect, line: &str) -> Vec<Option<String>> {
    let mut fields = Vec::new();
    dialect.fields(line, &mut fields).expect(line);
    fields.into_iter().map(|field| field.map(Cow::into_owned)).collect()
}

fn some(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| Some((*value).to_owned())).collect()
}

#[test]
fn text_fields_are_unescaped() {
    assert_eq!(fields(&text(), "a\tb\t"), some(&["a", "b", ""]));
    assert_eq!(fields(&text(), "\\N\tx"), [None, Some("x".to_owned())]);
    assert_eq!(
        fields(&text(), "a\\tb\\n\\\\N\t\\x41\\101\\q\t\\\\N"),
        some(&["a\tb\n\\N", "AAq", "\\N"])
    );
    assert_eq!(fields(&text(), "a\\\tb\tc"), some(&["a\tb", "c"]));
    assert_eq!(fields(&text(), "a\\"), some(&["a\\"]));
    assert_eq!(
        text().fields("\\xff", &mut Vec::new()).expect_err("no UTF-8").sqlstate,
        sqlstate::CHARACTER_NOT_IN_REPERTOIRE
    );
}

#[test]
fn csv_fields_are_unquoted() {
    assert_eq!(fields(&csv(), "a,,\"\""), [Some("a".to_owned()), None, Some(String::new())]);
    assert_eq!(fields(&csv(), "\"a,\"\"b\"\"\",c"), some(&["a,\"b\"", "c"]));
    assert_eq!(fields(&csv(), "ab\"c,d\"e"), some(&["abc,de"]));
    let single = Dialect { quote: b'\'', escape: b'\\', ..csv() };
    assert_eq!(fields(&single, "'it\\'s',x"), some(&["it's", "x"]));
    assert_eq!(
        csv().fields("\"a", &mut Vec::new()).expect_err("open").message,
        "unterminated CSV quoted field"
    );
}

#[test]
fn lines_end_outside_of_quotes_and_escapes() {
    let mut scan = Scan::default();
    assert_eq!(text().line_end(b"a\\\nb\nc", 0, &mut scan), Some((4, 5)));
    assert_eq!(text().line_end(b"a\\\\\nb", 0, &mut scan), Some((3, 4)));
    assert_eq!(text().line_end(b"abc", 0, &mut scan), None);
    assert_eq!(csv().line_end(b"\"a\nb\"\nc", 0, &mut scan), Some((5, 6)));
    assert!(!scan.quoted);
    assert_eq!(csv().line_end(b"\"a\nb", 0, &mut scan), None);
    assert!(scan.quoted);
    assert_eq!(csv().line_end(b"\"a\nb\"\n", 4, &mut scan), Some((5, 6)));
}

#[test]
fn lines_end_alike_wherever_messages_cut_them() {
    let escaping = Dialect { escape: b'\\', ..csv() };
    let text_with = |dialect: &Dialect, bytes: &[u8], cut: usize| {
        let mut scan = Scan::default();
        let mut ends = Vec::new();
        // What a line's end was searched in before is not searched again.
        let (mut from, mut len) = (0, cut);
        loop {
            match dialect.line_end(&bytes[..len], from, &mut scan) {
                Some((end, next)) => {
                    ends.push(end);
                    from = next;
                }
                None if len < bytes.len() => (from, len) = (len, bytes.len()),
                None => return (ends, scan.quoted),
            }
        }
    };
    let cases: [(&Dialect, &[u8], &[usize]); 4] = [
        (&csv(), b"a,\"b\"\"\nc\",\\\nx\n\"\n", &[11, 13]),
        (&escaping, b"a,\"b\\\"\n\\\\\"\n\\\n\"\\", &[10, 12]),
        (&escaping, b"\"\\\n\"\n\"\\n\"\n", &[4, 9]),
        (&csv(), b"plain,line\r\n\n", &[11, 12]),
    ];
    for (dialect, bytes, expected) in cases {
        let quoted = text_with(dialect, bytes, bytes.len()).1;
        for cut in 0..=bytes.len() {
            let found = text_with(dialect, bytes, cut);
            assert_eq!(
                found,
                (expected.to_vec(), quoted),
                "{:?} cut at {cut}",
                bytes.escape_ascii()
            );
        }
    }
}

#[test]
fn nul_bytes_and_end_marks_inside_lines_are_refused() {
    let state = |line: &str| {
        let error = text().fields(line, &mut Vec::new()).expect_err(line);
        (error.sqlstate, error.message)
    };
    assert_eq!(state("a\\0b").0, sqlstate::CHARACTER_NOT_IN_REPERTOIRE);
    assert_eq!(state("a\\x00").0, sqlstate::CHARACTER_NOT_IN_REPERTOIRE);
    let corrupt = (sqlstate::BAD_COPY_FILE_FORMAT, "end-of-copy marker corrupt".to_owned());
    assert_eq!(state("a\\.b"), corrupt);
    assert_eq!(text().before_end_mark(b"a\\."), Some(&b"a"[..]));
    assert_eq!(text().before_end_mark(b"a\\\\."), None);
    assert_eq!(csv().before_end_mark(b"a\\."), None);
    assert_eq!(csv().before_end_mark(b"\\."), Some(&b""[..]));
}

#[test]
fn all_lines_end_as_the_first_does() {
    let end = |dialect: &Dialect, lines: &[&[u8]]| {
        let mut first = None;
        let mut result = Ok(());
        for line in lines {
            result = result
                .and_then(|()| dialect.without_carriage_return(line, true, &mut first).map(drop));
        }
        result.map_err(|error| error.message)
    };
    let returned = Err("literal carriage return found in data".to_owned());
    assert_eq!(end(&text(), &[b"a\r", b"b\r"]), Ok(()));
    assert_eq!(end(&text(), &[b"a", b"b\r"]), returned);
    assert_eq!(end(&text(), &[b"a\r", b"b"]), Err("literal newline found in data".to_owned()));
    assert_eq!(end(&text(), &[b"a\rb"]), returned);
    assert_eq!(end(&text(), &[b"a\\\rb"]), Ok(()));
    assert_eq!(end(&csv(), &[b"\"a\rb\""]), Ok(()));
    let unquoted = Err("unquoted carriage return found in data".to_owned());
    assert_eq!(end(&csv(), &[b"a\rb"]), unquoted);
}
