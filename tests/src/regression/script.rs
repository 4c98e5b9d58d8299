//! A psql script, cut into what psql takes as one step.

use std::path::Path;

/// One step of a script: a statement, or a line with a command of psql's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Line of the script it begins at, from 1.
    pub line: usize,
    /// What is given to psql; ends without a newline.
    pub text: String,
}

/// Cuts a script into its steps. Rows that follow a COPY FROM STDIN in the script are written to
/// files in `folder`, and the statement is made one that reads its file: a server that refuses
/// the statement would else be given rows for statements.
///
/// # Errors
/// If a file cannot be written.
pub fn chunks(script: &str, folder: &Path) -> std::io::Result<Vec<Chunk>> {
    let mut rest = Reader { text: script, at: 0 };
    let mut found = Vec::new();
    while let Some(mut chunk) = rest.chunk() {
        if takes_rows(&chunk.text) {
            let file = folder.join(format!("rows-{}.txt", found.len()));
            std::fs::write(&file, rest.rows())?;
            chunk.text = from_file(&chunk.text, &file);
        }
        found.push(chunk);
    }
    Ok(found)
}

/// Whether rows follow in the script.
fn takes_rows(statement: &str) -> bool {
    let words: Vec<String> =
        statement.split_whitespace().map(|w| w.trim_end_matches(';').to_lowercase()).collect();
    let copy = matches!(words.first().map(String::as_str), Some("copy" | "\\copy"));
    copy && words.windows(2).any(|pair| pair[0] == "from" && pair[1].starts_with("stdin"))
}

/// `copy t from stdin …` as psql's command that reads a file of the client's.
fn from_file(statement: &str, file: &Path) -> String {
    let flat: Vec<&str> = statement.split_whitespace().collect();
    let flat = flat.join(" ");
    let at = flat.to_lowercase().find("from stdin").expect("it takes rows");
    let (before, after) = (&flat[..at], &flat[at + "from stdin".len()..]);
    let table = before.trim_start_matches('\\')[4..].trim();
    format!("\\copy {table} from '{}'{}", file.display(), after.trim_end_matches(';'))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn byte(&self, offset: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + offset).copied()
    }

    fn starts(&self, with: &str) -> bool {
        self.text.as_bytes()[self.at..].starts_with(with.as_bytes())
    }

    /// Behind the next `end`, or at the script's end.
    fn skip_behind(&mut self, end: &str) {
        let rest = &self.text.as_bytes()[self.at..];
        let found = rest.windows(end.len()).position(|w| w == end.as_bytes());
        self.at = found.map_or(self.text.len(), |i| self.at + i + end.len());
    }

    fn skip_space_and_comments(&mut self) {
        loop {
            if self.byte(0).is_some_and(|b| b.is_ascii_whitespace()) {
                self.at += 1;
            } else if self.starts("--") {
                self.skip_behind("\n");
            } else if self.starts("/*") {
                self.skip_comment();
            } else {
                return;
            }
        }
    }

    /// Comments nest.
    fn skip_comment(&mut self) {
        let mut depth = 0;
        loop {
            if self.starts("/*") {
                depth += 1;
                self.at += 2;
            } else if self.starts("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return;
                }
            } else if self.byte(0).is_some() {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    fn chunk(&mut self) -> Option<Chunk> {
        self.skip_space_and_comments();
        self.byte(0)?;
        let begin = self.at;
        if self.byte(0) == Some(b'\\') {
            self.skip_line();
        } else {
            self.skip_statement();
        }
        let line = self.text[..begin].bytes().filter(|b| *b == b'\n').count() + 1;
        Some(Chunk { line, text: self.text[begin..self.at].trim_end().to_owned() })
    }

    fn skip_line(&mut self) {
        self.skip_behind("\n");
    }

    /// To behind the semicolon, or behind the line with psql's command that sends the statement.
    fn skip_statement(&mut self) {
        let mut parentheses = 0_usize;
        let mut body = Body::default();
        while let Some(byte) = self.byte(0) {
            match byte {
                b'\'' => self.skip_string(),
                b'"' => {
                    self.at += 1;
                    self.skip_behind("\"");
                }
                b'$' => self.skip_dollar(),
                b'-' if self.starts("--") => self.skip_behind("\n"),
                b'/' if self.starts("/*") => self.skip_comment(),
                b'\\' if self.byte(1) == Some(b';') => self.at += 2,
                b'\\' => return self.skip_line(),
                b';' if parentheses == 0 && !body.open() => {
                    self.at += 1;
                    return;
                }
                _ if byte.is_ascii_alphabetic() || byte == b'_' => body.word(&self.word()),
                _ => {
                    match byte {
                        b'(' => parentheses += 1,
                        b')' => parentheses = parentheses.saturating_sub(1),
                        _ => {}
                    }
                    self.at += 1;
                }
            }
        }
    }

    /// An identifier, keyword or number's suffix, behind which the reader stands then. A string
    /// with escapes begins with a letter, too.
    fn word(&mut self) -> String {
        let begin = self.at;
        while self.byte(0).is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$') {
            self.at += 1;
        }
        let word = self.text[begin..self.at].to_lowercase();
        if word == "e" && self.byte(0) == Some(b'\'') {
            self.skip_escaped();
        }
        word
    }

    fn skip_string(&mut self) {
        self.at += 1;
        self.skip_behind("'");
    }

    fn skip_escaped(&mut self) {
        self.at += 1;
        while let Some(byte) = self.byte(0) {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'\'' {
                return;
            }
        }
        self.at = self.at.min(self.text.len());
    }

    /// `$tag$ … $tag$`, or a parameter's number.
    fn skip_dollar(&mut self) {
        let bytes = &self.text.as_bytes()[self.at + 1..];
        let name = bytes.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
        let digit = bytes.first().is_some_and(u8::is_ascii_digit);
        if digit || bytes.get(name) != Some(&b'$') {
            self.at += 1;
            return;
        }
        let tag = self.text[self.at..self.at + name + 2].to_owned();
        self.at += tag.len();
        self.skip_behind(&tag);
    }

    /// The rows up to the line `\.`, without it.
    fn rows(&mut self) -> String {
        self.skip_behind("\n");
        let rest = &self.text[self.at..];
        let mut length = 0;
        for line in rest.split_inclusive('\n') {
            if line.trim_end() == "\\." {
                self.at += length + line.len();
                return rest[..length].to_owned();
            }
            length += line.len();
        }
        self.at = self.text.len();
        rest.to_owned()
    }
}

/// The body of a function in SQL: `begin atomic … end`, with semicolons in it.
#[derive(Default)]
struct Body {
    begin: bool,
    depth: usize,
}

impl Body {
    fn open(&self) -> bool {
        self.depth > 0
    }

    fn word(&mut self, word: &str) {
        match word {
            "atomic" if self.begin => self.depth += 1,
            "case" if self.depth > 0 => self.depth += 1,
            "end" if self.depth > 0 => self.depth -= 1,
            _ => {}
        }
        self.begin = word == "begin";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(script: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let found = chunks(script, folder.path()).expect("files can be written");
        found.into_iter().map(|chunk| chunk.text).collect()
    }

    #[test]
    fn statements_end_where_psql_ends_them() {
        let script = "-- a comment;\nselect ';', E'\\';', \";\"; select (1; 2);\n\
                      /* a /* nested; */ one; */ select $x$;$x$, $1\n\\gset\n\\d t\nselect 3;\n";
        let expected = [
            "select ';', E'\\';', \";\";",
            "select (1; 2);",
            "select $x$;$x$, $1\n\\gset",
            "\\d t",
            "select 3;",
        ];
        assert_eq!(texts(script), expected);
    }

    #[test]
    fn bodies_of_functions_hold_semicolons() {
        let script = "create function f() returns int begin atomic select case 1 when 1 then 2 end; \
                      select 2; end; begin; end;";
        assert_eq!(texts(script).len(), 3);
    }

    #[test]
    fn rows_go_to_a_file() {
        let found = texts("copy t (a)\nfrom stdin with (format csv);\n1\n'\n\\.\nselect 1;\n");
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("\\copy t (a) from '"), "{}", found[0]);
        assert!(found[0].ends_with("rows-0.txt' with (format csv)"), "{}", found[0]);
        assert_eq!(found[1], "select 1;");
    }
}
