//! One column of a row group: its cells, taken one row after the other, as JSON.

use std::fmt::Write as _;

use ::parquet::basic::{ConvertedType, LogicalType, Repetition};
use ::parquet::column::reader::ColumnReader;
use ::parquet::data_type::ByteArray;
use ::parquet::errors::ParquetError;
use ::parquet::schema::types::{ColumnDescriptor, Type};
use serde_json::value::RawValue;

use crate::error::{Fault, shorten};

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Numbers and truth values as the column has them.
    Plain,
    /// Whole numbers that are never negative, whatever their bits say.
    Unsigned,
    /// Whole numbers of so many decimal places.
    Decimal(u32),
    /// Texts.
    Text,
    /// Texts that are JSON.
    Json,
}

impl Kind {
    /// What the cells of a column are, or its type where that is nothing a trace has.
    pub(super) fn of(column: &ColumnDescriptor, is_json: bool) -> Result<Kind, String> {
        use ::parquet::basic::Type as Physical;
        let (logical, converted) = (column.logical_type_ref(), column.converted_type());
        let unsigned = matches!(logical, Some(LogicalType::Integer(int)) if !int.is_signed)
            || matches!(
                converted,
                ConvertedType::UINT_8
                    | ConvertedType::UINT_16
                    | ConvertedType::UINT_32
                    | ConvertedType::UINT_64
            );
        let whole = unsigned
            || matches!(logical, None | Some(LogicalType::Integer(_)))
                && matches!(
                    converted,
                    ConvertedType::NONE
                        | ConvertedType::INT_8
                        | ConvertedType::INT_16
                        | ConvertedType::INT_32
                        | ConvertedType::INT_64
                );
        match column.physical_type() {
            Physical::BYTE_ARRAY if is_json => Ok(Kind::Json),
            Physical::BYTE_ARRAY => Ok(Kind::Text),
            Physical::INT32 | Physical::INT64 if unsigned => Ok(Kind::Unsigned),
            Physical::INT32 | Physical::INT64 if whole => Ok(Kind::Plain),
            Physical::INT32 | Physical::INT64 if converted == ConvertedType::DECIMAL => {
                u32::try_from(column.type_scale()).map(Kind::Decimal).map_err(|_| type_name(column))
            }
            Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE => Ok(Kind::Plain),
            _ => Err(type_name(column)),
        }
    }
}

fn type_name(column: &ColumnDescriptor) -> String {
    match column.converted_type() {
        ConvertedType::NONE => column.physical_type().to_string(),
        converted => converted.to_string(),
    }
}

/// Where the lists of a column begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Definition level of a value.
    value: i16,
    /// Definition level from which there is an element, be it null; `None` where there is no list.
    element: Option<i16>,
}

impl Shape {
    /// A single value, or a list of single values; `None` for anything deeper.
    ///
    /// - `root`: the column as the file names it.
    pub(super) fn of(column: &ColumnDescriptor, root: &Type) -> Option<Shape> {
        let info = root.get_basic_info();
        let value = column.max_def_level();
        let optional = info.has_repetition() && info.repetition() == Repetition::OPTIONAL;
        match (column.max_rep_level(), column.path().parts().len()) {
            (0, 1) => Some(Shape { value, element: None }),
            (1, 1..=3) => Some(Shape { value, element: Some(i16::from(optional) + 1) }),
            _ => None,
        }
    }
}

/// The values of a column that are not null.
enum Values {
    Bool(Vec<bool>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bytes(Vec<ByteArray>),
}

impl Values {
    fn for_reader(reader: &ColumnReader) -> Option<Values> {
        Some(match reader {
            ColumnReader::BoolColumnReader(_) => Values::Bool(Vec::new()),
            ColumnReader::Int32ColumnReader(_) => Values::I32(Vec::new()),
            ColumnReader::Int64ColumnReader(_) => Values::I64(Vec::new()),
            ColumnReader::FloatColumnReader(_) => Values::F32(Vec::new()),
            ColumnReader::DoubleColumnReader(_) => Values::F64(Vec::new()),
            ColumnReader::ByteArrayColumnReader(_) => Values::Bytes(Vec::new()),
            _ => return None,
        })
    }

    fn len(&self) -> usize {
        match self {
            Values::Bool(v) => v.len(),
            Values::I32(v) => v.len(),
            Values::I64(v) => v.len(),
            Values::F32(v) => v.len(),
            Values::F64(v) => v.len(),
            Values::Bytes(v) => v.len(),
        }
    }

    fn clear(&mut self) {
        match self {
            Values::Bool(v) => v.clear(),
            Values::I32(v) => v.clear(),
            Values::I64(v) => v.clear(),
            Values::F32(v) => v.clear(),
            Values::F64(v) => v.clear(),
            Values::Bytes(v) => v.clear(),
        }
    }

    /// Appends value `at` as JSON.
    fn write(&self, at: usize, kind: Kind, name: &str, out: &mut String) -> Result<(), Fault> {
        // Writing to a String cannot fail.
        let _ = match self {
            Values::Bool(v) => write!(out, "{}", v[at]),
            Values::I32(v) => match kind {
                Kind::Unsigned => write!(out, "{}", v[at].cast_unsigned()),
                Kind::Decimal(places) => decimal(v[at].into(), places, out),
                _ => write!(out, "{}", v[at]),
            },
            Values::I64(v) => match kind {
                Kind::Unsigned => write!(out, "{}", v[at].cast_unsigned()),
                Kind::Decimal(places) => decimal(v[at], places, out),
                _ => write!(out, "{}", v[at]),
            },
            // The shortest decimal that is that number: what whoever wrote it had in mind. One that is not a
            // number is no JSON either, and named as such.
            Values::F32(v) => write!(out, "{}", v[at]),
            Values::F64(v) => write!(out, "{}", v[at]),
            Values::Bytes(v) => return text(v[at].data(), kind, name, out),
        };
        Ok(())
    }
}

/// A whole number of `places` decimal places.
fn decimal(n: i64, places: u32, out: &mut String) -> std::fmt::Result {
    let sign = if n < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", n.unsigned_abs(), width = places as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places as usize);
    write!(out, "{sign}{whole}{}{fraction}", if places == 0 { "" } else { "." })
}

fn text(bytes: &[u8], kind: Kind, name: &str, out: &mut String) -> Result<(), Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let found = format!("the byte 0x{:02x}", bytes[error.valid_up_to()]);
        Fault::field(name, "UTF-8 text", &found)
    })?;
    if kind == Kind::Json {
        let json: &RawValue =
            serde_json::from_str(text).map_err(|_| Fault::field(name, "a text with JSON", &shorten(text)))?;
        // In JSON, a line end is a blank between two values.
        out.extend(json.get().chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
    } else {
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
    Ok(())
}

/// A column of a row group under way.
pub(super) struct Column {
    /// Name in the file.
    name: String,
    /// The key it becomes.
    key: String,
    kind: Kind,
    shape: Shape,
    reader: ColumnReader,
    defined: Vec<i16>,
    repeated: Vec<i16>,
    values: Values,
    /// The next level and value to be taken.
    level: usize,
    value: usize,
}

impl Column {
    /// `None` for values of a width that no trace has.
    pub(super) fn new(
        name: &str,
        key: &str,
        kind: Kind,
        shape: Shape,
        reader: ColumnReader,
    ) -> Option<Column> {
        let values = Values::for_reader(&reader)?;
        Some(Column {
            name: name.to_owned(),
            key: key.to_owned(),
            kind,
            shape,
            reader,
            defined: Vec::new(),
            repeated: Vec::new(),
            values,
            level: 0,
            value: 0,
        })
    }

    /// Reads the cells of the next `n` rows.
    pub(super) fn read(&mut self, n: usize) -> Result<(), ParquetError> {
        self.defined.clear();
        self.repeated.clear();
        self.values.clear();
        (self.level, self.value) = (0, 0);
        let (defined, repeated) = (Some(&mut self.defined), Some(&mut self.repeated));
        let read = match (&mut self.reader, &mut self.values) {
            (ColumnReader::BoolColumnReader(r), Values::Bool(v)) => r.read_records(n, defined, repeated, v),
            (ColumnReader::Int32ColumnReader(r), Values::I32(v)) => r.read_records(n, defined, repeated, v),
            (ColumnReader::Int64ColumnReader(r), Values::I64(v)) => r.read_records(n, defined, repeated, v),
            (ColumnReader::FloatColumnReader(r), Values::F32(v)) => r.read_records(n, defined, repeated, v),
            (ColumnReader::DoubleColumnReader(r), Values::F64(v)) => r.read_records(n, defined, repeated, v),
            (ColumnReader::ByteArrayColumnReader(r), Values::Bytes(v)) => {
                r.read_records(n, defined, repeated, v)
            }
            _ => return Err(ParquetError::General("the type of a column changed".to_owned())),
        };
        let (rows, _, _) = read?;
        if rows == n {
            return Ok(());
        }
        Err(ParquetError::General(format!("the column {} has {rows} of {n} rows", self.name)))
    }

    /// Appends `"key": value` of the next row to the object `out`; nothing where it is null.
    ///
    /// # Errors
    /// What is wrong with the cell. It is used up all the same.
    pub(super) fn take(&mut self, out: &mut String) -> Result<(), Fault> {
        match self.shape.element {
            None => self.take_value(out),
            Some(element) => self.take_list(element, out),
        }
    }

    fn take_value(&mut self, out: &mut String) -> Result<(), Fault> {
        // A column that is never null has no levels.
        let there =
            self.shape.value == 0 || self.defined.get(self.level).is_some_and(|d| *d == self.shape.value);
        self.level += 1;
        if !there {
            return Ok(());
        }
        self.key(out);
        self.next(out)
    }

    fn take_list(&mut self, element: i16, out: &mut String) -> Result<(), Fault> {
        let first = self.level;
        let more = self.repeated.iter().skip(first + 1).take_while(|level| **level > 0).count();
        let end = (first + 1 + more).min(self.defined.len());
        self.level = first + 1 + more;
        let Some(levels) = self.defined.get(first..end).map(<[i16]>::to_vec) else { return Ok(()) };
        match levels.first() {
            Some(level) if *level + 1 < element => return Ok(()),
            _ => self.key(out),
        }
        out.push('[');
        let mut result = Ok(());
        for (at, level) in levels.iter().enumerate().filter(|(_, level)| **level >= element) {
            if at > 0 {
                out.push(',');
            }
            if *level == self.shape.value {
                // The others are taken, too: what is used up must not depend on what is found.
                result = result.and(self.next(out));
            } else {
                out.push_str("null");
            }
        }
        out.push(']');
        result
    }

    fn key(&self, out: &mut String) {
        if !out.ends_with('{') {
            out.push(',');
        }
        out.push_str(&serde_json::to_string(&self.key).unwrap_or_default());
        out.push(':');
    }

    fn next(&mut self, out: &mut String) -> Result<(), Fault> {
        let at = self.value;
        self.value += 1;
        if at >= self.values.len() {
            return Err(Fault::field(&self.name, "a value", "none"));
        }
        self.values.write(at, self.kind, &self.name, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_places() {
        let check = |n, places, expect: &str| {
            let mut out = String::new();
            decimal(n, places, &mut out).unwrap();
            assert_eq!(out, expect);
        };
        check(1_234_567, 3, "1234.567");
        check(-5, 3, "-0.005");
        check(42, 0, "42");
        check(i64::MIN, 9, "-9223372036.854775808");
    }
}
