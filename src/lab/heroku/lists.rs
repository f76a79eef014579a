//! Lists with `Range`, 206 and `Next-Range` (facts §1, Lists).

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::answer::Answer;

const FACT: &str = "§1 Lists: Range, 206, Next-Range";

fn key(item: &Json, field: &str) -> (u64, String) {
    match &item[field] {
        Json::Number(number) => (number.as_u64().unwrap_or(0), String::new()),
        Json::String(text) => (0, text.clone()),
        _ => (0, String::new()),
    }
}

/// The same range, in pages of at most this many: the server may give fewer than asked for.
pub fn at_most(range: Option<&str>, most: usize) -> String {
    let (head, options) = range.and_then(|range| range.split_once(';')).unwrap_or((range.unwrap_or(""), ""));
    let order = if options.contains("order=desc") { "order=desc, " } else { "" };
    format!("{head}; {order}max={most}")
}

/// How two values follow each other in the list: numbers as numbers, the rest as text.
fn order(one: &str, other: &str, descending: bool) -> Ordering {
    let order = match (one.parse::<u64>(), other.parse::<u64>()) {
        (Ok(one), Ok(other)) => one.cmp(&other),
        _ => one.cmp(other),
    };
    if descending { order.reverse() } else { order }
}

/// The part of `items` that `range` asks for; without one the first 200, oldest first by the first of `fields`.
pub fn page(mut items: Vec<Json>, fields: &[&str], range: Option<&str>) -> Answer {
    let default = fields.first().copied().unwrap_or("id");
    let range = range.unwrap_or_default();
    let (head, options) = range.split_once(';').unwrap_or((range, ""));
    let mut head = head.split_whitespace();
    let field = head.next().unwrap_or(default).to_owned();
    let span = head.next().unwrap_or("..").to_owned();
    if !fields.contains(&field.as_str()) {
        return Answer::error(
            416,
            "requested_range_not_satisfiable",
            format!("Cannot sort by {field}"),
            FACT,
        );
    }
    let option = |name: &str| {
        options
            .split([',', ';'])
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    };
    let descending = option("order").is_some_and(|order| order == "desc");
    let most = option("max").and_then(|max| max.parse::<usize>().ok()).unwrap_or(200).min(1000);
    items.sort_by_key(|item| key(item, &field));
    if descending {
        items.reverse();
    }
    let text = |item: &Json| {
        let (number, text) = key(item, &field);
        if text.is_empty() { number.to_string() } else { text }
    };
    // `]` on either side excludes the value itself, which is how the next page begins.
    let (from, to) = span.split_once("..").unwrap_or((&span, ""));
    if !from.is_empty() {
        let (exclusive, from) = from.strip_prefix(']').map_or((false, from), |from| (true, from));
        let before = |item: &Json| match order(&text(item), from, descending) {
            Ordering::Less => true,
            Ordering::Equal => exclusive,
            Ordering::Greater => false,
        };
        items.retain(|item| !before(item));
    }
    if !to.is_empty() {
        let (exclusive, to) = to.strip_suffix('[').map_or((false, to), |to| (true, to));
        items.retain(|item| match order(&text(item), to, descending) {
            Ordering::Less => true,
            Ordering::Equal => !exclusive,
            Ordering::Greater => false,
        });
    }
    let more = items.len() > most;
    items.truncate(most);
    let first = items.first().map(text);
    let last = items.last().map(text);
    let mut answer = Answer::new(if more { 206 } else { 200 }, Json::Array(items), FACT);
    answer.headers.push(("Accept-Ranges", fields.join(", ")));
    if let (Some(first), Some(last)) = (first, &last) {
        answer.headers.push(("Content-Range", format!("{field} {first}..{last}")));
    }
    if let (true, Some(last)) = (more, last) {
        let order = if descending { ", order=desc" } else { "" };
        answer.headers.push(("Next-Range", format!("{field} ]{last}..; max={most}{order}")));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn newest_first_and_on_to_the_next_page() {
        let items: Vec<Json> = (1..=5).map(|version| json!({ "version": version })).collect();
        let first = page(items.clone(), &["version"], Some("version ..; order=desc, max=2"));
        assert_eq!((first.status, &first.body), (206, &json!([{ "version": 5 }, { "version": 4 }])));
        let next = first.headers.iter().find(|(name, _)| *name == "Next-Range").unwrap().1.clone();
        let second = page(items.clone(), &["version"], Some(&next));
        assert_eq!(second.body, json!([{ "version": 3 }, { "version": 2 }]));
        let part = page(items.clone(), &["version"], Some("version 2..4"));
        assert_eq!(part.body, json!([{ "version": 2 }, { "version": 3 }, { "version": 4 }]));
        assert!(part.headers.contains(&("Content-Range", "version 2..4".to_owned())), "{:?}", part.headers);
        assert_eq!(page(items.clone(), &["version"], None).body[0], json!({ "version": 1 }));
        assert_eq!(page(items, &["version"], Some("name ..")).status, 416);
    }
}
