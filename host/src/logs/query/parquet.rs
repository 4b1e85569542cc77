//! Rows as a Parquet file, a row group at a time.

use std::io;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;

use super::export::{Column, Kind};
use super::table::Cell;
use crate::http::stream::Lines;

/// A row group is written when it has so many rows, or so many bytes.
const GROUP_ROWS: usize = 50_000;
const GROUP_BYTES: usize = 16 << 20;

/// A file that is being written.
pub(super) struct ParquetSink<'a> {
    columns: Vec<Column>,
    writer: SerializedFileWriter<&'a mut Lines>,
    /// The rows of the next group, column by column.
    cells: Vec<Vec<Cell>>,
    bytes: usize,
}

fn io_error(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

impl<'a> ParquetSink<'a> {
    pub(super) fn new(columns: Vec<Column>, lines: &'a mut Lines) -> io::Result<Self> {
        let fields = columns.iter().map(|column| schema(column).map(Arc::new)).collect::<Result<Vec<_>, _>>().map_err(io_error)?;
        let schema = Type::group_type_builder("logs").with_fields(fields).build().map_err(io_error)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("watchfire ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = SerializedFileWriter::new(lines, Arc::new(schema), Arc::new(properties)).map_err(io_error)?;
        Ok(Self { cells: columns.iter().map(|_| Vec::new()).collect(), columns, writer, bytes: 0 })
    }

    pub(super) fn add(&mut self, cells: &[Cell]) -> io::Result<()> {
        for (column, cell) in self.cells.iter_mut().zip(cells) {
            self.bytes += cell.bytes();
            column.push(cell.clone());
        }
        let is_full = self.bytes >= GROUP_BYTES || self.cells.first().is_some_and(|column| column.len() >= GROUP_ROWS);
        if is_full { self.group() } else { Ok(()) }
    }

    fn group(&mut self) -> io::Result<()> {
        if self.cells.first().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        self.bytes = 0;
        let mut group = self.writer.next_row_group().map_err(io_error)?;
        for (column, cells) in self.columns.iter().zip(&mut self.cells) {
            let Some(mut writer) = group.next_column().map_err(io_error)? else { break };
            write(&mut writer, column.kind, cells).map_err(io_error)?;
            writer.close().map_err(io_error)?;
            cells.clear();
        }
        group.close().map_err(io_error)?;
        Ok(())
    }

    pub(super) fn close(mut self) -> io::Result<()> {
        self.group()?;
        self.writer.close().map_err(io_error)?;
        Ok(())
    }
}

fn schema(column: &Column) -> Result<Type, ParquetError> {
    let (physical, logical) = match column.kind {
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
        Kind::Int => (Physical::INT64, None),
        Kind::Float => (Physical::DOUBLE, None),
        Kind::Bool => (Physical::BOOLEAN, None),
        Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::NANOS))),
    };
    Type::primitive_type_builder(&column.name, physical).with_repetition(Repetition::OPTIONAL).with_logical_type(logical).build()
}

fn write(writer: &mut SerializedColumnWriter<'_>, kind: Kind, cells: &[Cell]) -> Result<(), ParquetError> {
    /// Returns which cells are there, and the values of those.
    fn present<T>(cells: &[Cell], value: impl Fn(&Cell) -> Option<T>) -> (Vec<i16>, Vec<T>) {
        let values: Vec<Option<T>> = cells.iter().map(value).collect();
        (values.iter().map(|value| i16::from(value.is_some())).collect(), values.into_iter().flatten().collect())
    }
    match kind {
        Kind::Text | Kind::Json => {
            let (levels, values) =
                present(cells, |cell| (*cell != Cell::None).then(|| ByteArray::from(cell.display().into_bytes())));
            writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
        }
        Kind::Int => {
            let (levels, values) = present(cells, |cell| match cell {
                Cell::Int(number) => Some(*number),
                Cell::Id(id) => Some(*id as i64),
                _ => None,
            });
            writer.typed::<Int64Type>().write_batch(&values, Some(&levels), None)?;
        }
        Kind::Float => {
            let (levels, values) = present(cells, |cell| match cell {
                Cell::Int(number) => Some(*number as f64),
                Cell::Float(number) => Some(*number),
                _ => None,
            });
            writer.typed::<DoubleType>().write_batch(&values, Some(&levels), None)?;
        }
        Kind::Bool => {
            let (levels, values) = present(cells, |cell| if let Cell::Bool(value) = cell { Some(*value) } else { None });
            writer.typed::<BoolType>().write_batch(&values, Some(&levels), None)?;
        }
        Kind::Time => {
            let (levels, values) = present(cells, |cell| match cell {
                Cell::Time(time) => i64::try_from(time.as_nanos()).ok(),
                _ => None,
            });
            writer.typed::<Int64Type>().write_batch(&values, Some(&levels), None)?;
        }
    }
    Ok(())
}
