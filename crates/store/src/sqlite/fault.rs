//! What SQLite says, as what the caller can do about it.

use std::sync::Arc;

use rusqlite::ErrorCode;

use super::sum::Damage;
use crate::{Limit, StoreError};

/// The one table from SQLite's errors to ours.
pub(super) fn fault(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full(Limit::Disk),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt(error.to_string().into()),
        // The tables are only ever written by this program. A number where none can be, or a place that is taken already,
        // was not written by it.
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => StoreError::Corrupt(error.to_string().into()),
        _ => match error {
            rusqlite::Error::FromSqlConversionFailure(.., source) if source.is::<Damage>() => {
                StoreError::Corrupt(source.to_string().into())
            }
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => StoreError::Corrupt(error.to_string().into()),
            other => StoreError::Failed(Arc::new(other)),
        },
    }
}

/// A failure of the file system.
pub(super) fn io(error: std::io::Error) -> StoreError {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full(Limit::Disk),
        _ => StoreError::Failed(Arc::new(error)),
    }
}
