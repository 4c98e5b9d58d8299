//! Clients that do not speak UTF-8.

use crate::{
    Server,
    raw::{Raw, Reply, execute, kinds, message, parse, sync},
};

const TEXT: u32 = 25;

/// A Bind of one parameter; it and the results in `format`.
fn bind(value: &[u8], format: u8) -> Vec<u8> {
    let length = (value.len() as u32).to_be_bytes();
    let body = [b"\0\0\0\x01\0", &[format][..], b"\0\x01", &length, value, b"\0\x01\0", &[format]];
    message('B', &body.concat())
}

async fn ask(raw: &mut Raw, sql: &[u8]) -> Vec<Reply> {
    raw.send(&message('Q', &[sql, b"\0"].concat())).await;
    raw.until_ready().await
}

/// The fields of a DataRow.
fn fields(row: &Reply) -> Vec<Vec<u8>> {
    assert_eq!(row.kind, 'D', "{row:?}");
    let mut rest = &row.body[2..];
    let mut fields = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (field, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        fields.push(field.to_vec());
        rest = after;
    }
    fields
}

async fn latin1() -> (tempfile::TempDir, Server, Raw) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let mut raw = Raw::start(server.port).await;
    let set = ask(&mut raw, b"set client_encoding = 'iso-8859-1'").await;
    assert_eq!(kinds(&set), "CSZ");
    assert_eq!(set[1].body, b"client_encoding\0LATIN1\0");
    (folder, server, raw)
}

#[tokio::test]
async fn statements_and_results_are_translated() {
    let (_folder, server, mut raw) = latin1().await;
    let made = ask(&mut raw, b"create table stra\xdfe (\"gr\xfcn\" text, n int)").await;
    assert_eq!(kinds(&made), "CZ");
    let rows = ask(&mut raw, b"insert into stra\xdfe values ('Z\xfcrich', 1) returning *").await;
    assert_eq!(kinds(&rows), "TDCZ");
    assert!(rows[0].body[2..].starts_with(b"gr\xfcn\0"), "{:?}", rows[0].body);
    assert_eq!(fields(&rows[1]), [b"Z\xfcrich".to_vec(), b"1".to_vec()]);
    // What another client sees is the same text.
    let other = Raw::start(server.port).await.query("select grün, length(grün) from straße").await;
    assert_eq!(fields(&other[1]), ["Zürich".as_bytes().to_vec(), b"6".to_vec()]);
    // Errors, too; what the client cannot show is a question mark there.
    let error = ask(&mut raw, b"select * from \"\xe9\"").await;
    let message = b"Mrelation \"\xe9\" does not exist\0";
    assert!(error[0].body.windows(message.len()).any(|part| part == message), "{error:?}");
    let error = ask(&mut raw, b"select U&'\\20ac'::int").await;
    let shown = b"\"?\"\0";
    let last = error.iter().find(|reply| reply.kind == 'E').expect("no number");
    assert!(last.body.windows(shown.len()).any(|part| part == shown), "{error:?}");
    // A value it cannot have is an error.
    let error = ask(&mut raw, b"select U&'1 \\20ac'").await;
    assert_eq!(kinds(&error), "TEZ");
    assert_eq!(error[1].sqlstate(), "22P05");
    assert_eq!(kinds(&ask(&mut raw, b"set client_encoding = utf8; select 1").await), "CTDCSZ");
    assert_eq!(fields(&raw.query("select 'Zürich'").await[1]), ["Zürich".as_bytes().to_vec()]);
}

#[tokio::test]
async fn parameters_and_arrays_are_translated() {
    let (_folder, _server, mut raw) = latin1().await;
    for format in [0, 1] {
        let messages = [
            parse("", "select $1, length($1), array[$1, 'x']", &[TEXT]),
            bind(b"Z\xfcrich", format),
            execute("", 0),
            sync(),
        ];
        raw.send(&messages.concat()).await;
        let replies = raw.until_ready().await;
        assert_eq!(kinds(&replies), "12DCZ", "{replies:?}");
        let fields = fields(&replies[2]);
        assert_eq!(fields[0], b"Z\xfcrich");
        match format {
            0 => assert_eq!(fields[1..], [b"6".to_vec(), b"{Z\xfcrich,x}".to_vec()]),
            _ => {
                assert_eq!(fields[1], 6u32.to_be_bytes());
                let element = [&6u32.to_be_bytes()[..], b"Z\xfcrich", &1u32.to_be_bytes(), b"x"];
                assert_eq!(fields[2][20..], element.concat());
            }
        }
    }
}

#[tokio::test]
async fn copied_rows_are_translated() {
    let (_folder, server, mut raw) = latin1().await;
    ask(&mut raw, b"create table t (a text)").await;
    let copy =
        [message('Q', b"copy t from stdin\0"), message('d', b"Z\xfcrich\n"), message('c', b"")];
    raw.send(&copy.concat()).await;
    assert_eq!(kinds(&raw.until_ready().await), "GCZ");
    // The option counts more than the client's encoding.
    let copy = message('Q', b"copy t from stdin (encoding 'utf8')\0");
    let copy = [copy, message('d', "Genève\n".as_bytes()), message('c', b"")];
    raw.send(&copy.concat()).await;
    assert_eq!(kinds(&raw.until_ready().await), "GCZ");
    let rows = ask(&mut raw, b"copy (select a from t order by a) to stdout").await;
    let rows: Vec<_> = rows.iter().filter(|reply| reply.kind == 'd').collect();
    assert_eq!((&*rows[0].body, &*rows[1].body), (&b"Gen\xe8ve\n"[..], &b"Z\xfcrich\n"[..]));
    let other = Raw::start(server.port).await.query("select a from t order by a").await;
    assert_eq!(fields(&other[1]), ["Genève".as_bytes().to_vec()]);
}
