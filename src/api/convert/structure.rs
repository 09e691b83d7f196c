//! A vendor's JSON as `google.protobuf.Struct`, in bounds that every client can read.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::Value as Json;

/// Deeper JSON is given as text: protobuf readers stop at 100 nested messages, and one level of JSON is three.
const MAX_DEPTH: usize = 20;
/// The largest whole number that a double holds exactly.
const MAX_EXACT: u64 = 1 << 53;

/// A vendor's JSON object. Text that is no JSON object is kept under the key `text`.
pub fn structure(json: &str) -> Struct {
    match serde_json::from_str::<Json>(json) {
        Ok(Json::Object(fields)) => {
            Struct { fields: fields.into_iter().map(|(key, value)| (key, convert(value, 1))).collect() }
        }
        Ok(Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_)) | Err(_) => {
            Struct { fields: [("text".to_owned(), text(json.to_owned()))].into() }
        }
    }
}

fn convert(value: Json, depth: usize) -> Value {
    if depth >= MAX_DEPTH && (value.is_array() || value.is_object()) {
        return text(value.to_string());
    }
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::Number(number) => match number.as_f64() {
            Some(double) if is_exact(&number) => Kind::NumberValue(double),
            Some(_) | None => Kind::StringValue(number.to_string()),
        },
        Json::String(value) => Kind::StringValue(value),
        Json::Array(values) => {
            Kind::ListValue(ListValue { values: values.into_iter().map(|v| convert(v, depth + 1)).collect() })
        }
        Json::Object(fields) => Kind::StructValue(Struct {
            fields: fields.into_iter().map(|(key, value)| (key, convert(value, depth + 1))).collect(),
        }),
    };
    Value { kind: Some(kind) }
}

fn is_exact(number: &serde_json::Number) -> bool {
    if let Some(whole) = number.as_u64() {
        whole <= MAX_EXACT
    } else if let Some(whole) = number.as_i64() {
        whole.unsigned_abs() <= MAX_EXACT
    } else {
        true
    }
}

fn text(text: String) -> Value {
    Value { kind: Some(Kind::StringValue(text)) }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn field(structure: &Struct, key: &str) -> Kind {
        structure.fields[key].kind.clone().unwrap()
    }

    #[test]
    fn json_survives() {
        let json = r#"{"a":"x","b":1.5,"c":true,"d":null,"e":[1,{"f":"y"}],"big":9007199254740993,"n":-3}"#;
        let read = structure(json);
        assert_eq!(field(&read, "a"), Kind::StringValue("x".to_owned()));
        assert_eq!(field(&read, "b"), Kind::NumberValue(1.5));
        assert_eq!(field(&read, "c"), Kind::BoolValue(true));
        assert_eq!(field(&read, "d"), Kind::NullValue(0));
        assert_eq!(field(&read, "n"), Kind::NumberValue(-3.0));
        assert_eq!(field(&read, "big"), Kind::StringValue("9007199254740993".to_owned()));
        let Kind::ListValue(list) = field(&read, "e") else { panic!() };
        assert_eq!(list.values.len(), 2);
    }

    #[test]
    fn deep_json_can_still_be_decoded() {
        let deep = format!("{}1{}", r#"{"a":["#.repeat(50), "]}".repeat(50));
        let bytes = structure(&deep).encode_to_vec();
        assert!(Struct::decode(bytes.as_slice()).is_ok());
    }

    #[test]
    fn what_is_no_object_is_kept_as_text() {
        for odd in ["", "[1]", "{\"cut\":", "plain words"] {
            assert_eq!(field(&structure(odd), "text"), Kind::StringValue(odd.to_owned()), "{odd}");
        }
    }
}
