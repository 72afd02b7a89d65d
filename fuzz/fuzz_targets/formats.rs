//! Formats described in the configuration, and lines read by them.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use logkeeper::model::Formats;
use logkeeper::parse::{AutoParser, Context, YearRule};

/// A layout of each kind.
static FORMATS: LazyLock<Vec<Formats>> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("logkeeper-fuzz-{}", std::process::id()));
    let layouts = [
        r#"apache = '%v %h %l %u %t \"%r\" %>s %O \"%{X-Forwarded-For}i\" %D'"#,
        r#"nginx = '$server_name $remote_addr - $remote_user [$time_local] "$request" $status "$http_x_forwarded_for"'"#,
        r"regex = '^(?<time>\S+ \S+) WARN wrong password for (?<user.name>.*) from (?<source.ip>\S+)$'",
        r#"json = { "time" = "ts", "source.ip" = "request.remote_ip", "http.status" = "status", "forwarded.for" = "f" }"#,
        "where = { \"logger\" = [\"http*\", \"login\"] }\ntells = \"login-failed\"\njson = { \"time\" = \"ts\", \"source.ip\" = \"ip\" }",
    ];
    std::fs::create_dir_all(folder.join("config/formats")).expect("a folder for formats");
    let read = |(n, layout): (usize, &&str)| {
        let text = format!("category = \"access\"\n[lines.all]\n{layout}\n");
        std::fs::write(folder.join(format!("config/formats/f{n}.toml")), text).expect("a format");
        logkeeper::config::formats(&folder, Some(&format!("f{n}"))).expect("a format that is right")
    };
    layouts.iter().enumerate().map(read).collect()
});

fuzz_target!(|text: &[u8]| {
    for formats in FORMATS.iter() {
        let context = Context { zone: chrono_tz::Europe::Berlin, year: YearRule::From(2026) };
        let mut parser = AutoParser::new(context, formats);
        for line in logkeeper::logs::split(text) {
            parser.parse(line);
        }
    }
});
