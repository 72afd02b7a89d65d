//! The shared cron vectors: Debian's semantics, case by case.

use chrono::{DateTime, Utc};
use logkeeper::model::{Expression, Schedule};
use logkeeper::schedule::next_after;

use crate::support;

fn vectors() -> Option<Vec<serde_json::Value>> {
    let text = std::fs::read_to_string(support::shared()?.join("vectors/cron.json")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    document["vectors"].as_array().cloned()
}

#[test]
fn all_vectors_agree() {
    let Some(vectors) = vectors() else {
        return support::skip("all_vectors_agree", "../shared");
    };
    let mut wrong = Vec::new();
    let mut checked = 0;
    for case in &vectors {
        checked += 1;
        let want: Vec<String> =
            case["expected"].as_array().map_or_else(Vec::new, |list| list.iter().map(instant).collect());
        let got = answer(case, want.len());
        if got != want {
            wrong.push(format!("{} {}: want {want:?}, got {got:?}", case["id"], case["expr"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {checked} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked == 164, "only {checked} vectors were checked");
}

/// The next instants: as many as the vector lists, or as it asks for where it lists none.
fn answer(case: &serde_json::Value, listed: usize) -> Vec<String> {
    let Ok(expression) = case["expr"].as_str().unwrap().parse::<Expression>() else {
        return Vec::new();
    };
    let schedule = Schedule { expression, zone: case["tz"].as_str().unwrap().parse().unwrap() };
    let mut at: DateTime<Utc> = case["from"].as_str().unwrap().parse().unwrap();
    let count = if listed > 0 { listed } else { case["n"].as_u64().unwrap() as usize };
    let mut found = Vec::new();
    while found.len() < count {
        let Some(next) = next_after(&schedule, at) else { break };
        found.push(next.to_rfc3339());
        at = next;
    }
    found
}

fn instant(value: &serde_json::Value) -> String {
    value.as_str().unwrap().parse::<DateTime<Utc>>().unwrap().to_rfc3339()
}

#[test]
fn the_command_line_answers_every_vector() {
    let Some(vectors) = vectors() else {
        return support::skip("the_command_line_answers_every_vector", "../shared");
    };
    let bed = support::TestBed::new();
    for case in &vectors {
        let of = |key: &str| case[key].as_str().unwrap();
        let want = case["expected"].as_array().cloned().unwrap_or_default();
        let count = want.len().max(1).to_string();
        let args = ["next", "--cron", of("expr"), "--zone", of("tz"), "--from", of("from"), "-n", &count, "--json"];
        let ran = bed.run(&args);
        if want.is_empty() {
            assert!(ran.code == 2 && ran.stderr.contains("help: "), "{}: {ran:?}", of("id"));
        } else {
            let answer: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
            assert_eq!(answer["next"].as_array().unwrap(), &want, "{}: {}", of("id"), of("expr"));
        }
    }
    let told = bed.run(&["next", "--cron", "0 12 * * FRY"]);
    assert!(told.code == 2 && told.stderr.contains("  0 12 * * FRY\n           ^^^ a weekday is"), "{told:?}");
    assert_eq!(bed.run(&["next", "--cron", "0 12 * * 5", "--zone", "Europe/Berlon"]).code, 2);
}
