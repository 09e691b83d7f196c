//! ZStack's query language for lists, as its REST server reads it: `q` conditions joined by AND, `limit`, `start`,
//! `sort`, `count`, `replyWithCount`, `fields`. Unknown parameters are ignored.

use serde_json::{Map, Value, json};

/// The operators in the order in which the server tries them against the whole text.
const OPERATORS: [&str; 10] = ["!=", ">=", "<=", "!?=", "!~=", "~=", "?=", "=", ">", "<"];

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub field: String,
    operator: &'static str,
    value: String,
}

/// A list query.
#[derive(Debug)]
pub(super) struct Query {
    pub conditions: Vec<Condition>,
    limit: usize,
    start: usize,
    sort: Option<(bool, String)>,
    count_only: bool,
    with_count: bool,
    fields: Option<Vec<String>>,
}

impl Query {
    /// Reads a query string; the error is the server's plain text for a 400.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut query = Self {
            conditions: Vec::new(),
            limit: 1000,
            start: 0,
            sort: None,
            count_only: false,
            with_count: false,
            fields: None,
        };
        for (key, value) in url::form_urlencoded::parse(text.as_bytes()) {
            match &*key {
                "q" => query.conditions.push(Condition::parse(&value)?),
                "limit" => {
                    query.limit =
                        value.parse().map_err(|_| format!("invalid query parameter limit[{value}]"))?
                }
                "start" => {
                    query.start =
                        value.parse().map_err(|_| format!("invalid query parameter start[{value}]"))?
                }
                "sort" => {
                    let (up, field) = match value.strip_prefix('-') {
                        Some(field) => (false, field),
                        None => (true, value.strip_prefix('+').unwrap_or(&value)),
                    };
                    // A bare `+` in the address arrives as a space.
                    query.sort = Some((up, field.trim().to_owned()));
                }
                "count" => query.count_only = value == "true",
                "replyWithCount" => query.with_count = value == "true",
                "fields" if query.fields.is_none() => {
                    query.fields = Some(value.split(',').map(str::to_owned).collect());
                }
                _ => {}
            }
        }
        Ok(query)
    }

    /// The values that a field must be one of, when a condition says so: spares a walk over everything.
    pub fn one_of(&self, field: &str) -> Option<Vec<String>> {
        let condition =
            self.conditions.iter().find(|c| c.field == field && matches!(c.operator, "=" | "?="))?;
        Some(condition.value.split(',').map(str::to_owned).collect())
    }

    /// The answer's body for these rows.
    pub fn answer(&self, rows: impl Iterator<Item = Value>) -> Value {
        let mut rows: Vec<Value> = rows.filter(|row| self.conditions.iter().all(|c| c.holds(row))).collect();
        if let Some((up, field)) = &self.sort {
            rows.sort_by(|a, b| {
                let order = text(a.get(field)).cmp(&text(b.get(field)));
                if *up { order } else { order.reverse() }
            });
        }
        let total = rows.len();
        if self.count_only {
            return json!({"total": total});
        }
        let page: Vec<Value> =
            rows.into_iter().skip(self.start).take(self.limit).map(|row| self.project(row)).collect();
        let mut body = Map::from_iter([("inventories".to_owned(), Value::Array(page))]);
        if self.with_count {
            body.insert("total".to_owned(), json!(total));
        }
        Value::Object(body)
    }

    fn project(&self, row: Value) -> Value {
        match (&self.fields, row) {
            (Some(fields), Value::Object(mut map)) => {
                map.retain(|key, _| fields.contains(key));
                Value::Object(map)
            }
            (_, row) => row,
        }
    }
}

impl Condition {
    fn parse(text: &str) -> Result<Self, String> {
        for (word, operator) in [(" is null", "is null"), (" not null", "not null")] {
            if let Some(field) = text.strip_suffix(word) {
                return Ok(Self { field: field.to_owned(), operator, value: String::new() });
            }
        }
        OPERATORS
            .into_iter()
            .find_map(|operator| {
                let (field, value) = text.split_once(operator)?;
                Some(Self { field: field.to_owned(), operator, value: value.to_owned() })
            })
            .ok_or_else(|| format!("invalid query parameter q[{text}]: no operator"))
    }

    fn holds(&self, row: &Value) -> bool {
        let Some(have) = text(row.get(&self.field)) else { return self.operator == "is null" };
        let want = self.value.as_str();
        match self.operator {
            "=" => have == want,
            "!=" => have != want,
            ">" => have.as_str() > want,
            ">=" => have.as_str() >= want,
            "<" => have.as_str() < want,
            "<=" => have.as_str() <= want,
            "?=" => want.split(',').any(|w| w == have),
            "!?=" => !want.split(',').any(|w| w == have),
            "~=" => like(&have, want),
            "!~=" => !like(&have, want),
            "not null" => true,
            _ => false,
        }
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// SQL's `like`: `%` for any text, `_` for one character.
fn like(text: &str, pattern: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('%') => {
            let rest = pattern.get(1..).unwrap_or_default();
            text.char_indices().any(|(at, _)| like(text.get(at..).unwrap_or_default(), rest))
                || like("", rest)
        }
        Some(c) => {
            let mut left = text.chars();
            left.next().is_some_and(|t| c == '_' || c == t)
                && like(left.as_str(), pattern.get(c.len_utf8()..).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(query: &str) -> Vec<String> {
        let rows = [
            json!({"uuid": "a", "state": "Running"}),
            json!({"uuid": "b"}),
            json!({"uuid": "c", "state": "Failed"}),
        ];
        let answer = Query::parse(query).unwrap().answer(rows.into_iter());
        answer["inventories"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["uuid"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn conditions_sorts_and_pages() {
        assert_eq!(names("q=uuid?=a,c"), ["a", "c"]);
        assert_eq!(names("q=uuid>a&sort=%2Buuid&limit=1"), ["b"]);
        assert_eq!(names("sort=-uuid&start=1"), ["b", "a"]);
        assert_eq!(names("q=state is null"), ["b"]);
        assert_eq!(names("q=state~=%25nn%25&q=uuid!=c"), ["a"]);
        assert_eq!(names("surprise=1&q=state?=Running,Failed"), ["a", "c"]);
    }

    #[test]
    fn what_the_server_cannot_read_is_refused() {
        for bad in ["q=uuid", "limit=many", "start=x"] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts() {
        let rows = || [json!({"uuid": "a"}), json!({"uuid": "b"})].into_iter();
        assert_eq!(Query::parse("count=true").unwrap().answer(rows()), json!({"total": 2}));
        let both = Query::parse("replyWithCount=true&limit=1&fields=uuid").unwrap().answer(rows());
        assert_eq!(both, json!({"inventories": [{"uuid": "a"}], "total": 2}));
    }
}
