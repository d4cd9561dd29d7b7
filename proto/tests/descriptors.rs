//! The compiled protos against the tables of etcd 3.7's protocol, in both directions: whatever
//! either side has, the other has with the same number, type and label.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

const MESSAGES: &str = include_str!("etcd-3.7-messages.tsv");
const RPCS: &str = include_str!("etcd-3.7-rpcs.tsv");

/// Package, message, kind, name, number, type, label: one row of the table.
type Row = [String; 7];

fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(vetch_proto::DESCRIPTORS).expect("build.rs wrote a descriptor set")
}

fn table() -> BTreeSet<Row> {
    let mut rows = BTreeSet::new();
    for line in MESSAGES.lines().skip(1) {
        let mut cells = line.split('\t').map(str::to_owned);
        let row: Row = std::array::from_fn(|_| cells.next().unwrap_or_default());
        rows.insert(row);
    }
    rows
}

fn row(
    package: &str,
    message: &str,
    kind: &str,
    name: &str,
    number: &str,
    ty: &str,
    label: &str,
) -> Row {
    [package, message, kind, name, number, ty, label].map(str::to_owned)
}

fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Bytes => "bytes".into(),
        Type::String => "string".into(),
        Type::Bool => "bool".into(),
        Type::Int32 => "int32".into(),
        Type::Int64 => "int64".into(),
        Type::Uint32 => "uint32".into(),
        Type::Uint64 => "uint64".into(),
        Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
        other => panic!("{other:?} is in no etcd message"),
    }
}

fn field_row(
    package: &str,
    message: &str,
    owner: &DescriptorProto,
    field: &FieldDescriptorProto,
) -> Row {
    let is_map = owner.nested_type.iter().any(|nested| {
        nested.options.as_ref().is_some_and(|o| o.map_entry())
            && field.type_name().ends_with(&format!(".{}", nested.name()))
    });
    let label = match field.label() {
        _ if is_map => "map",
        Label::Repeated => "repeated",
        Label::Optional | Label::Required => "",
    };
    let kind = match field.oneof_index {
        Some(index) => {
            format!("oneof:{}", owner.oneof_decl[usize::try_from(index).unwrap()].name())
        }
        None => "field".to_owned(),
    };
    row(
        package,
        message,
        &kind,
        field.name(),
        &field.number().to_string(),
        &type_name(field),
        label,
    )
}

fn enum_rows(package: &str, path: &str, decl: &EnumDescriptorProto, rows: &mut BTreeSet<Row>) {
    for value in &decl.value {
        let number = value.number().to_string();
        rows.insert(row(package, path, "enum-value", value.name(), &number, "", ""));
    }
}

fn message_rows(package: &str, path: &str, decl: &DescriptorProto, rows: &mut BTreeSet<Row>) {
    if decl.field.is_empty() {
        rows.insert(row(package, path, "message", "(no fields)", "", "", ""));
    }
    for range in &decl.reserved_range {
        rows.insert(row(package, path, "reserved", "", &range.start().to_string(), "", ""));
    }
    for field in &decl.field {
        rows.insert(field_row(package, path, decl, field));
    }
    for nested in &decl.nested_type {
        if !nested.options.as_ref().is_some_and(|o| o.map_entry()) {
            message_rows(package, &format!("{path}.{}", nested.name()), nested, rows);
        }
    }
    for nested in &decl.enum_type {
        enum_rows(package, &format!("{path}.{}", nested.name()), nested, rows);
    }
}

/// Vetch's own messages and services are for its log and between its members.
fn is_etcds(file: &&prost_types::FileDescriptorProto) -> bool {
    file.package() != "vetchpb"
}

fn compiled() -> BTreeSet<Row> {
    let mut rows = BTreeSet::new();
    for file in descriptors().file.iter().filter(is_etcds) {
        for message in &file.message_type {
            message_rows(file.package(), message.name(), message, &mut rows);
        }
        for decl in &file.enum_type {
            enum_rows(file.package(), decl.name(), decl, &mut rows);
        }
    }
    rows
}

#[test]
fn every_field_is_etcds() {
    let (table, compiled) = (table(), compiled());
    assert!(table.len() > 300, "the table has {} rows", table.len());
    let missing: Vec<_> = table.difference(&compiled).collect();
    let surplus: Vec<_> = compiled.difference(&table).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:#?}\nsurplus {surplus:#?}");
}

#[test]
fn every_rpc_is_etcds() {
    let table: BTreeSet<Vec<String>> =
        RPCS.lines().skip(1).map(|l| l.split('\t').map(str::to_owned).collect()).collect();
    let yes_no = |b: bool| if b { "y" } else { "n" }.to_owned();
    let short = |name: &str| name.rsplit('.').next().unwrap().to_owned();
    let mut compiled = BTreeSet::new();
    for file in descriptors().file.iter().filter(is_etcds) {
        for service in &file.service {
            for method in &service.method {
                compiled.insert(vec![
                    format!("{}.{}", file.package(), service.name()),
                    method.name().to_owned(),
                    short(method.input_type()),
                    short(method.output_type()),
                    yes_no(method.client_streaming()),
                    yes_no(method.server_streaming()),
                ]);
            }
        }
    }
    assert!(table.len() > 50, "the table has {} rows", table.len());
    assert_eq!(table, compiled);
}
