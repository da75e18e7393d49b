//! The table of properties against oci-spec's types and the examples.

use super::*;
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

/// Docker's config, which has nearly everything.
const DOCKER: &str = include_str!("../../../integration/fixtures/docker.json");

fn oddities(text: &str) -> Vec<(Oddity, String)> {
    let mut list = Vec::new();
    look(text.as_bytes(), &Node::parse(text.as_bytes()), &mut |oddity, path, _| list.push((oddity, path)));
    list
}

/// Calls `check` with each property's path in JSON pointers (`0` in arrays, `x` in maps), and its part.
fn every(shape: Shape, pointer: &str, check: &mut impl FnMut(&str, Part)) {
    for property in shape {
        let here = format!("{pointer}/{}", property.name);
        check(&here, property.part);
        match property.part {
            Part::Value | Part::Free | Part::Elsewhere => {}
            Part::Object(shape) => every(shape, &here, check),
            Part::Objects(shape) => every(shape, &format!("{here}/0"), check),
            Part::Map(shape) => every(shape, &format!("{here}/x"), check),
        }
    }
}

/// A config with one value at a pointer.
fn with(pointer: &str, value: Value) -> Value {
    pointer.rsplit('/').filter(|part| !part.is_empty()).fold(value, |value, part| match part {
        "0" => json!([value]),
        name => json!({ name: value }),
    })
}

fn parses(value: Value) -> Result<Spec, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// No name in the table is misspelt: for each there is a value that the parser refuses for its type, as it does not
/// with a name that it doesn't know.
#[test]
fn the_parser_knows_every_property() {
    // FreeBSD's part is younger than the parser.
    let others = ["/freebsd"];
    every(CONFIG, "", &mut |pointer, _| {
        let wrong = [json!(5), json!("x"), json!([{}]), json!({"x": [[]]}), json!(true)];
        let known = wrong.iter().any(|value| {
            parses(with(pointer, value.clone())).is_err_and(|error| error.starts_with("invalid "))
        });
        assert!(known || others.contains(&pointer), "{pointer}");
    });
}

/// Every object of the table is one for the parser, so that no array is refused that it would take as such.
#[test]
fn objects_are_objects() {
    every(CONFIG, "", &mut |pointer, part| {
        let (element, is_object) = match part {
            Part::Value | Part::Free | Part::Elsewhere => return,
            Part::Object(_) => (pointer.to_owned(), true),
            Part::Objects(_) => (format!("{pointer}/0"), true),
            Part::Map(_) => (format!("{pointer}/x"), true),
        };
        let error = parses(with(&element, json!(5))).unwrap_err();
        assert_eq!(error.contains("expected struct"), is_object, "{element}: {error}");
    });
}

#[test]
fn the_list_of_arrays_is_that_of_the_table() {
    assert!(ARRAYS.is_sorted());
    every(CONFIG, "", &mut |pointer, part| {
        let name = pointer.rsplit('/').next().unwrap();
        let listed = ARRAYS.binary_search(&name).is_ok();
        match part {
            Part::Object(_) | Part::Map(_) => assert!(!listed, "{pointer}"),
            Part::Objects(_) => assert!(listed, "{pointer}"),
            Part::Value => {
                let array = [json!([]), json!(["x"]), json!([1])].into_iter().any(|list| {
                    let error = parses(with(pointer, list)).err().unwrap_or_default();
                    !error.contains("invalid type: sequence")
                });
                assert!(listed || !array, "{pointer} may be an array");
            }
            Part::Free | Part::Elsewhere => assert!(!listed, "{pointer}"),
        }
    });
}

/// [E15]
#[test]
fn unknown_properties_are_told() {
    assert_eq!(oddities(DOCKER), []);
    let text = r#"{"ociVersion": "1.0.0", "proces": {}, "windows": {}, "hooks": {"x": 1, "prestart": [{"arg": []}]},
        "linux": {"netDevices": {"a": {"nam": ""}}}, "annotations": {"x": "y"}}"#;
    let expected = [
        (Oddity::Unknown(Some("process")), "proces"),
        (Oddity::OtherPlatform, "windows"),
        (Oddity::Unknown(None), "hooks.x"),
        (Oddity::Unknown(Some("args")), "hooks.prestart[0].arg"),
        (Oddity::Missing, "hooks.prestart[0].path"),
        (Oddity::Unknown(Some("name")), "linux.netDevices.a.nam"),
    ];
    assert_eq!(oddities(text), expected.map(|(oddity, path)| (oddity, path.to_owned())));
}

/// [S14] A NUL is told from a text about one, and is data in annotations.
#[test]
fn nuls_are_seen() {
    let text = r#"{"ociVersion": "1.0.0", "hostname": "a\u0000", "annotations": {"a": "\u0000"},
        "domainname": "a\\u0000", "linux": {"sysctl": {"a\u0000": ""}, "mountLabel": "\u0000"},
        "process": {"cwd": "/", "args": ["a", "b\u0000"]}, "nothing": "\u0000"}"#;
    let nuls = oddities(text).into_iter().filter(|(oddity, _)| *oddity == Oddity::Nul);
    let expected = ["hostname", r#"linux.sysctl["a\0"]"#, "linux.mountLabel", "process.args[1]"];
    assert_eq!(nuls.map(|(_, path)| path).collect::<Vec<_>>(), expected);
    assert!(suspicious(text.as_bytes()) && !suspicious(br#"{"hostname": "a\n\u0001"}"#));
}

#[test]
fn brackets_are_found_anywhere() {
    for at in 0..40 {
        for byte in [b'[', b'\\'] {
            let mut text = vec![b'Z'; 40];
            text[at] = byte;
            assert_eq!(telling(&text, 0), Some(at));
            assert_eq!(telling(&text, at), Some(at));
            assert_eq!(telling(&text, at + 1), None);
        }
    }
}

#[test]
fn arrays_in_place_of_objects_are_seen() {
    for text in [
        "[]",
        r#"{"ociVersion": "1.0.0", "process": []}"#,
        r#"{"ociVersion": "1.0.0", "linux": {"resources": {"memory" : [1]}}}"#,
        r#"{"ociVersion": "1.0.0", "linux": {"namespaces": [["pid"]]}}"#,
        r#"{"ociVersion": "1.0.0", "linux": {"namespaces": [{"type": "pid"}, ["pid"]]}}"#,
        r#"{"ociVersion": "1.0.0", "linux": {"resources": {"rdma": {"x": []}}}}"#,
        r#"{"ociVersion": "1.0.0", "linux": {"\u0072esources": []}}"#,
    ] {
        let arrays = oddities(text).iter().filter(|(odd, _)| *odd == Oddity::ArrayForObject).count();
        assert!(suspicious(text.as_bytes()) && arrays == 1, "{text}");
    }
    let strings = r#"{"hostname": "a[b", "process": {"args" : [ "x [", "[", "a: ["], "env":["A=[]"]}}"#;
    assert!(!suspicious(DOCKER.as_bytes()));
    assert!(oddities(strings).iter().all(|(oddity, _)| *oddity != Oddity::ArrayForObject));
}
