//! JSON patches (RFC 6902): `add`, `replace` and `remove`, the three operations that Ironic takes.
//!
//! A patch applies as a whole or not at all: it works on a copy.

use serde_json::{Map, Value};

use super::ApiError;

/// Applies `patch` to a copy of `document`. `mandatory` fields cannot be removed; fields that are not in the document cannot be added.
pub(super) fn apply(
    document: &Map<String, Value>,
    patch: &Value,
    mandatory: &[&str],
    is_internal: impl Fn(&str) -> bool,
) -> Result<Map<String, Value>, ApiError> {
    let operations = patch
        .as_array()
        .ok_or_else(|| ApiError::invalid(format!("Schema error for patch: {} is not of type 'array'", kind(patch))))?;
    let mut result = document.clone();
    for operation in operations {
        apply_one(&mut result, operation, mandatory, &is_internal)?;
    }
    Ok(result)
}

fn apply_one(
    document: &mut Map<String, Value>,
    operation: &Value,
    mandatory: &[&str],
    is_internal: &impl Fn(&str) -> bool,
) -> Result<(), ApiError> {
    let schema = |words: &str| ApiError::invalid(format!("Schema error for patch: {words}"));
    let fields = operation.as_object().ok_or_else(|| schema("an operation is not of type 'object'"))?;
    if let Some(unknown) = fields.keys().find(|key| !["op", "path", "value"].contains(&key.as_str())) {
        return Err(schema(&format!("Additional properties are not allowed ('{unknown}' was unexpected)")));
    }
    let text = |name: &str| {
        fields.get(name).and_then(Value::as_str).ok_or_else(|| schema(&format!("'{name}' is a required property")))
    };
    let (op, path) = (text("op")?, text("path")?);
    if !["add", "replace", "remove"].contains(&op) {
        return Err(schema(&format!("'{op}' is not one of ['add', 'replace', 'remove']")));
    }
    let steps: Vec<String> = match path.strip_prefix('/') {
        Some(rest) if !rest.is_empty() => {
            rest.trim_end_matches('/').split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
        }
        _ => return Err(schema(&format!("'{path}' does not match '^(/[\\\\w-]+)+$'"))),
    };
    let value = match (op, fields.get("value")) {
        ("remove", _) => None,
        (_, Some(value)) => Some(value.clone()),
        (_, None) => return Err(schema("'value' is a required property")),
    };
    let (root, rest) = steps.split_first().ok_or_else(|| schema("'path' is empty"))?;
    if is_internal(root) {
        return Err(ApiError::invalid(format!("'/{root}' is an internal attribute and can not be updated")));
    }
    let failed = |reason: String| ApiError::invalid(format!("Couldn't apply patch '{operation}'. Reason: {reason}"));
    let Some(field) = document.get_mut(root) else {
        return Err(match op {
            "add" => ApiError::invalid(format!(
                "Adding a new attribute (/{root}) to the root of the resource is not allowed"
            )),
            _ => failed(format!("can't {op} a non-existent object '{root}'")),
        });
    };
    if rest.is_empty() {
        if value.is_none() && mandatory.contains(&root.as_str()) {
            return Err(ApiError::invalid(format!("'/{root}' is a mandatory attribute and can not be removed")));
        }
        // `null` brings the default back.
        *field = value.unwrap_or(Value::Null);
        return Ok(());
    }
    change_inside(field, rest, op, value).map_err(failed)
}

/// Changes what lies at `steps` below `target`; the reason why not, in jsonpatch's words.
fn change_inside(target: &mut Value, steps: &[String], op: &str, value: Option<Value>) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first() else { return Err("the path is empty".into()) };
    if !rest.is_empty() {
        let next = match target {
            Value::Object(map) => map.get_mut(step),
            Value::Array(list) => step.parse::<usize>().ok().and_then(|at| list.get_mut(at)),
            _ => None,
        };
        return change_inside(next.ok_or_else(|| format!("member '{step}' not found"))?, rest, op, value);
    }
    match target {
        Value::Object(map) => match value {
            None => map.remove(step).map(drop).ok_or_else(|| format!("can't remove a non-existent object '{step}'")),
            Some(_) if op == "replace" && !map.contains_key(step) => {
                Err(format!("can't replace a non-existent object '{step}'"))
            }
            Some(value) => {
                map.insert(step.clone(), value);
                Ok(())
            }
        },
        Value::Array(list) => {
            let end = list.len();
            let at = if step == "-" && op == "add" { Ok(end) } else { step.parse::<usize>() };
            let at = at.map_err(|_| format!("'{step}' is not a valid sequence index"))?;
            match (op, value) {
                ("add", Some(value)) if at <= end => list.insert(at, value),
                ("replace", Some(value)) if at < end => list[at] = value,
                ("remove", None) if at < end => drop(list.remove(at)),
                _ => return Err(format!("can't {op} outside of list")),
            }
            Ok(())
        }
        other => Err(format!("'{step}' lies in {}, which has no members", kind(other))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(patch: Value) -> Result<Value, String> {
        let Value::Object(document) =
            json!({ "name": "n", "driver": "ipmi", "extra": { "a": 1, "l": [1, 2], "x/y": 0 } })
        else {
            panic!()
        };
        apply(&document, &patch, &["driver"], |root| root == "uuid")
            .map(Value::Object)
            .map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn applies_what_ironic_takes() {
        let cases = [
            (json!([]), json!({ "name": "n", "driver": "ipmi", "extra": { "a": 1, "l": [1, 2], "x/y": 0 } })),
            (
                json!([{ "op": "add", "path": "/extra/b", "value": 2 }, { "op": "remove", "path": "/extra/a" }]),
                json!({ "name": "n", "driver": "ipmi", "extra": { "b": 2, "l": [1, 2], "x/y": 0 } }),
            ),
            (
                json!([{ "op": "replace", "path": "/name", "value": "m" }, { "op": "remove", "path": "/extra" }]),
                json!({ "name": "m", "driver": "ipmi", "extra": null }),
            ),
            (
                json!([{ "op": "add", "path": "/extra/l/-", "value": 3 }, { "op": "remove", "path": "/extra/l/0" },
                { "op": "replace", "path": "/extra/x~1y", "value": 9 }]),
                json!({ "name": "n", "driver": "ipmi", "extra": { "a": 1, "l": [2, 3], "x/y": 9 } }),
            ),
        ];
        for (patch, result) in cases {
            assert_eq!(patched(patch.clone()), Ok(result), "{patch}");
        }
    }

    #[test]
    fn refuses_what_ironic_refuses() {
        let cases = [
            (json!({}), "is not of type 'array'"),
            (json!([1]), "not of type 'object'"),
            (json!([{ "op": "test", "path": "/name", "value": "n" }]), "'test' is not one of"),
            (json!([{ "op": "add", "path": "/name" }]), "'value' is a required property"),
            (json!([{ "op": "add", "value": 1 }]), "'path' is a required property"),
            (json!([{ "op": "add", "path": "name", "value": 1 }]), "does not match"),
            (json!([{ "op": "add", "path": "/", "value": 1 }]), "does not match"),
            (json!([{ "op": "add", "path": "/name", "value": 1, "from": "/x" }]), "'from' was unexpected"),
            (json!([{ "op": "add", "path": "/foo", "value": 1 }]), "Adding a new attribute (/foo)"),
            (json!([{ "op": "replace", "path": "/foo", "value": 1 }]), "can't replace a non-existent object 'foo'"),
            (json!([{ "op": "replace", "path": "/uuid", "value": 1 }]), "'/uuid' is an internal attribute"),
            (json!([{ "op": "remove", "path": "/driver" }]), "'/driver' is a mandatory attribute"),
            (json!([{ "op": "remove", "path": "/extra/zz" }]), "can't remove a non-existent object 'zz'"),
            (json!([{ "op": "replace", "path": "/extra/zz", "value": 1 }]), "can't replace a non-existent object 'zz'"),
            (json!([{ "op": "add", "path": "/extra/q/r", "value": 1 }]), "member 'q' not found"),
            (json!([{ "op": "add", "path": "/name/x", "value": 1 }]), "has no members"),
            (json!([{ "op": "add", "path": "/extra/l/9", "value": 1 }]), "outside of list"),
        ];
        for (patch, words) in cases {
            let error = patched(patch.clone()).expect_err("refused");
            assert!(error.contains(words), "{patch}: {error}");
        }
    }
}
