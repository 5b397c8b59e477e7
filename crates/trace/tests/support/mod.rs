//! What several tests of the traces need.
#![allow(dead_code, clippy::unwrap_used)]

use tics_trace::{OpenOptions, Row, RowWriter, Trace, WriteFormat};

/// A file of these rows.
pub fn written(format: WriteFormat, rows: &[Row]) -> Vec<u8> {
    let mut writer = RowWriter::new(format, Vec::new());
    for row in rows {
        writer.write(row).unwrap();
    }
    writer.finish().unwrap()
}

/// A trace of these rows.
pub fn trace_of(rows: &[Row]) -> Trace {
    Trace::read(&*written(WriteFormat::Tics, rows), "rows", &OpenOptions::default()).unwrap()
}

/// A row without these fields, such as a format has no place for.
pub fn without(mut row: Row, fields: &[&str]) -> Row {
    for field in fields {
        match *field {
            "hash_ids" => (row.hash_ids, row.block_size) = (None, None),
            "id" => row.id = None,
            "parent" => row.parent = None,
            "session_id" => row.session = None,
            "delay_s" => row.delay = None,
            "type" => row.kind = None,
            "turn" => row.turn = None,
            "prompt" => row.prompt = None,
            "messages" => row.messages = None,
            "payload" => row.payload = None,
            other => panic!("no such field: {other}"),
        }
    }
    row
}
