//! A source file as the rules see it: its place, and its code without comments, strings and test modules.

use std::path::{Path, PathBuf};

/// One source file.
pub struct Source {
    /// Relative to the project's root.
    pub path: PathBuf,
    /// Lines of the whole file.
    pub length: usize,
    /// Code lines as (number from 1, text), comments and the contents of strings blanked, left out from an inline test module on.
    pub code: Vec<(usize, String)>,
    /// Names of the modules that it declares for tests only, with files of their own.
    pub test_modules: Vec<String>,
}

impl Source {
    /// Reads `text` as the file at `path`.
    pub fn new(path: &Path, text: &str) -> Self {
        let mut code: Vec<(usize, String)> = Vec::new();
        let mut test_modules = Vec::new();
        let mut blanker = Blanker::default();
        for (at, line) in text.lines().enumerate() {
            let line = blanker.blank(line);
            let for_tests = code.last().is_some_and(|(_, before)| before.trim() == "#[cfg(test)]");
            if let Some((_, module)) = line.split_once("mod ").filter(|_| for_tests) {
                match module.trim().strip_suffix(';') {
                    Some(name) => test_modules.push(name.to_owned()),
                    None => break,
                }
            }
            code.push((at + 1, line));
        }
        Self { path: path.to_owned(), length: text.lines().count(), code, test_modules }
    }

    /// Where the files of its test modules are: `x.rs` and the folder `x`, below this file's own module.
    pub fn test_files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let folder = self.path.parent().unwrap_or(Path::new("")).to_owned();
        let stem = self.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("");
        let below = if ["mod", "lib", "main"].contains(&stem) { folder } else { folder.join(stem) };
        self.test_modules.iter().flat_map(move |name| [below.join(format!("{name}.rs")), below.join(name)])
    }

    /// The daemon and folder: `dhcpd/src/proto/view.rs` → `("dhcpd", "proto")`.
    pub fn place(&self) -> (&str, &str) {
        let mut parts = self.path.iter().filter_map(|part| part.to_str());
        let package = parts.next().unwrap_or("");
        let folder = if parts.next() == Some("src") { parts.next().unwrap_or("") } else { "" };
        (package, folder.trim_end_matches(".rs"))
    }
}

/// Blanks comments and strings, across lines.
#[derive(Default)]
struct Blanker {
    /// Depth of nested block comments.
    comment: usize,
    /// Inside a string; for a raw one its number of `#`.
    string: Option<Option<usize>>,
}

impl Blanker {
    fn blank(&mut self, line: &str) -> String {
        let bytes: Vec<char> = line.chars().collect();
        let mut out = String::new();
        let mut at = 0;
        let starts = |at: usize, what: &str| what.chars().enumerate().all(|(i, c)| bytes.get(at + i) == Some(&c));
        while at < bytes.len() {
            if self.comment > 0 {
                if starts(at, "*/") {
                    self.comment -= 1;
                    at += 2;
                } else if starts(at, "/*") {
                    self.comment += 1;
                    at += 2;
                } else {
                    at += 1;
                }
            } else if let Some(kind) = self.string {
                match kind {
                    None if bytes[at] == '\\' => at += 2,
                    None if bytes[at] == '"' => {
                        self.string = None;
                        out.push('"');
                        at += 1;
                    }
                    Some(hashes) if bytes[at] == '"' && starts(at + 1, &"#".repeat(hashes)) => {
                        self.string = None;
                        out.push('"');
                        at += 1 + hashes;
                    }
                    _ => at += 1,
                }
            } else if starts(at, "//") {
                break;
            } else if starts(at, "/*") {
                self.comment = 1;
                at += 2;
            } else if bytes[at] == '\'' && (starts(at + 2, "'") || bytes.get(at + 1) == Some(&'\\')) {
                // A character, which may be a quotation mark.
                let end = (at + 2..bytes.len()).find(|&i| bytes[i] == '\'' && (bytes[i - 1] != '\\' || i > at + 2));
                out.push_str("' '");
                at = end.map_or(bytes.len(), |end| end + 1);
            } else if bytes[at] == '"' {
                self.string = Some(None);
                out.push('"');
                at += 1;
            } else if bytes[at] == 'r' && !out.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                let hashes = bytes[at + 1..].iter().take_while(|&&c| c == '#').count();
                if bytes.get(at + 1 + hashes) == Some(&'"') {
                    self.string = Some(Some(hashes));
                    out.push('"');
                    at += 2 + hashes;
                } else {
                    out.push('r');
                    at += 1;
                }
            } else {
                out.push(bytes[at]);
                at += 1;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_what_is_not_code() {
        let text = "let a = \"unsafe // x\"; // unsafe\n/* unsafe\n unsafe */ let b = '\"'; let r = r#\"unsafe \" x\"#;\nfn f<'a>() {}\n#[cfg(test)]\nmod tests { unsafe }\n";
        let source = Source::new(Path::new("dhcpd/src/proto/x.rs"), text);
        let code: String = source.code.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n");
        assert!(!code.contains("unsafe"), "{code}");
        assert!(code.contains("fn f<'a>() {}"));
        assert_eq!(source.place(), ("dhcpd", "proto"));
    }

    #[test]
    fn knows_its_test_modules_and_reads_on_behind_them() {
        let source = Source::new(Path::new("a/src/proto/x.rs"), "#[cfg(test)]\nmod simulation;\nlet code = 1;\n");
        assert_eq!(source.code.len(), 3);
        let files: Vec<_> = source.test_files().collect();
        assert_eq!(files, [PathBuf::from("a/src/proto/x/simulation.rs"), PathBuf::from("a/src/proto/x/simulation")]);
    }
}
