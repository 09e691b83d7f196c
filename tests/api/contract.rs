//! The contract, element by element, against `golden/contract.txt`: an accidental change shows.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use drydock::api::pb::DESCRIPTOR_SET;
use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

const PACKAGE: &str = "drydock.v1";

fn pool() -> DescriptorPool {
    DescriptorPool::decode(DESCRIPTOR_SET).unwrap()
}

/// Every service, message and enum with names and numbers, sorted by name.
fn listing() -> String {
    let pool = pool();
    let mut parts = BTreeSet::new();
    for service in pool.services().filter(|s| s.package_name() == PACKAGE) {
        let mut text = format!("service {}\n", service.name());
        for method in service.methods() {
            let stream = |is: bool| if is { "stream " } else { "" };
            writeln!(
                text,
                "  {}({}{}) returns ({}{})",
                method.name(),
                stream(method.is_client_streaming()),
                method.input().name(),
                stream(method.is_server_streaming()),
                method.output().name(),
            )
            .unwrap();
        }
        parts.insert(text);
    }
    let ours = |m: &MessageDescriptor| m.package_name() == PACKAGE && !m.is_map_entry();
    parts.extend(pool.all_messages().filter(ours).map(|m| message(&m)));
    parts.extend(pool.all_enums().filter(|e| e.package_name() == PACKAGE).map(|e| enumeration(&e)));
    parts.into_iter().collect::<Vec<_>>().join("\n")
}

fn message(message: &MessageDescriptor) -> String {
    let mut text = format!("message {}\n", message.name());
    for field in message.fields() {
        let oneof = field.containing_oneof().filter(|o| !o.is_synthetic());
        let oneof = oneof.map(|o| format!(" in {}", o.name())).unwrap_or_default();
        writeln!(text, "  {} {}: {}{oneof}", field.number(), field.name(), kind_of(&field)).unwrap();
    }
    text
}

fn kind_of(field: &FieldDescriptor) -> String {
    if let Kind::Message(entry) = field.kind()
        && field.is_map()
    {
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        return format!("map<{}, {}>", name(&key.kind()), name(&value.kind()));
    }
    let optional = field.containing_oneof().is_some_and(|o| o.is_synthetic());
    let label = if field.is_list() {
        "repeated "
    } else if optional {
        "optional "
    } else {
        ""
    };
    format!("{label}{}", name(&field.kind()))
}

fn name(kind: &Kind) -> String {
    let full = match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(enumeration) => enumeration.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    full.trim_start_matches("drydock.v1.").to_owned()
}

fn enumeration(enumeration: &EnumDescriptor) -> String {
    let mut text = format!("enum {}\n", enumeration.name());
    for value in enumeration.values() {
        writeln!(text, "  {} {}", value.number(), value.name()).unwrap();
    }
    text
}

/// A change here is a change for every caller. If it is meant, run this test once with `UPDATE_GOLDEN=1`.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch for people, no setting of the program")]
fn the_contract_is_as_written_down() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/golden/contract.txt");
    let listing = listing();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &listing).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap();
    for (line, (now, then)) in listing.lines().zip(golden.lines()).enumerate() {
        assert_eq!(now, then, "line {} of {}", line + 1, file.display());
    }
    assert_eq!(listing, golden);
}

/// Descriptor paths of the elements that must have a comment, by the field numbers of `descriptor.proto`.
fn elements(file: &prost_types::FileDescriptorProto) -> Vec<(Vec<i32>, String)> {
    const MESSAGE: i32 = 4;
    const ENUM: i32 = 5;
    const SERVICE: i32 = 6;
    const FIELD: i32 = 2;
    const VALUE: i32 = 2;
    const METHOD: i32 = 2;
    const ONEOF: i32 = 8;
    let at = |index: usize| i32::try_from(index).unwrap();
    let mut out = Vec::new();
    for (i, message) in file.message_type.iter().enumerate() {
        out.push((vec![MESSAGE, at(i)], message.name().to_owned()));
        for (j, field) in message.field.iter().enumerate() {
            out.push((vec![MESSAGE, at(i), FIELD, at(j)], format!("{}.{}", message.name(), field.name())));
        }
        let synthetic = |j: usize| {
            message.field.iter().any(|f| f.proto3_optional() && f.oneof_index == i32::try_from(j).ok())
        };
        for (j, oneof) in message.oneof_decl.iter().enumerate().filter(|(j, _)| !synthetic(*j)) {
            out.push((vec![MESSAGE, at(i), ONEOF, at(j)], format!("{}.{}", message.name(), oneof.name())));
        }
        // Only the entries of maps are nested.
        assert!(message.nested_type.iter().all(|n| n.options.as_ref().is_some_and(|o| o.map_entry())));
        assert!(message.enum_type.is_empty());
    }
    for (i, enumeration) in file.enum_type.iter().enumerate() {
        out.push((vec![ENUM, at(i)], enumeration.name().to_owned()));
        for (j, value) in enumeration.value.iter().enumerate() {
            out.push((vec![ENUM, at(i), VALUE, at(j)], value.name().to_owned()));
        }
    }
    for (i, service) in file.service.iter().enumerate() {
        out.push((vec![SERVICE, at(i)], service.name().to_owned()));
        for (j, method) in service.method.iter().enumerate() {
            out.push((vec![SERVICE, at(i), METHOD, at(j)], format!("{}.{}", service.name(), method.name())));
        }
    }
    out
}

#[test]
fn every_element_has_a_comment() {
    let mut checked = 0;
    for file in pool().file_descriptor_protos().filter(|f| f.package() == PACKAGE) {
        let info = file.source_code_info.as_ref().unwrap();
        for (path, name) in elements(file) {
            let comment =
                info.location.iter().find(|l| l.path == path).and_then(|l| l.leading_comments.as_deref());
            assert!(comment.is_some_and(|c| c.trim().len() >= 5), "{name} in {} has no comment", file.name());
            checked += 1;
        }
    }
    assert!(checked > 200, "{checked}");
}

/// A field named like a secret must be marked, so that tools that print messages leave it out.
#[test]
fn passwords_are_marked() {
    let mut marked = Vec::new();
    for message in pool().all_messages().filter(|m| m.package_name() == PACKAGE) {
        for field in message.fields() {
            let options = field.options();
            let redacted =
                options.get_field_by_name("debug_redact").is_some_and(|o| o.as_bool() == Some(true));
            let sounds_secret =
                ["password", "secret", "token_value", "credential"].iter().any(|w| field.name().contains(w));
            assert_eq!(redacted, sounds_secret, "{}", field.full_name());
            if redacted {
                marked.push(field.full_name().to_owned());
            }
        }
    }
    marked.sort_unstable();
    assert_eq!(
        marked,
        ["drydock.v1.ReinstallInstancesRequest.password", "drydock.v1.RetryJobRequest.password"]
    );
}
