//! The schema of a report request in the contract. These types parse nothing.

use chrono::{DateTime, Utc};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::{MAX_CORRELATION_ID, MAX_NUMBERS};
use crate::call::Phone;

/// The body of `POST /api/v1/report`: exactly one of `numbers` and `phones`, which mean the same.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum Wanted {
    /// With `numbers`.
    Numbers(WithNumbers),
    /// With `phones`.
    Phones(WithPhones),
}

/// A report request with the phones in `numbers`.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WithNumbers {
    /// The phones, 1 to 1,000 different numbers from 0 to 10^15.
    pub numbers: UniquePhones,
    /// An id chosen by the client; the report returns it as it was given.
    pub correlation_id: Option<CorrelationId>,
    /// Only calls that begin at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Only calls that begin before this time, which must be later than `from`.
    pub to: Option<DateTime<Utc>>,
}

/// A report request with the phones in `phones`.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WithPhones {
    /// The phones, 1 to 1,000 different numbers from 0 to 10^15.
    pub phones: UniquePhones,
    /// An id chosen by the client; the report returns it as it was given.
    pub correlation_id: Option<CorrelationId>,
    /// Only calls that begin at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Only calls that begin before this time, which must be later than `from`.
    pub to: Option<DateTime<Utc>>,
}

/// The phones, 1 to 1,000 different numbers.
pub struct UniquePhones;

impl PartialSchema for UniquePhones {
    fn schema() -> RefOr<Schema> {
        let phone = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(0))
            .maximum(Some(Phone::MAX));
        ArrayBuilder::new()
            .items(phone)
            .min_items(Some(1))
            .max_items(Some(MAX_NUMBERS))
            .unique_items(true)
            .into()
    }
}

impl ToSchema for UniquePhones {}

/// A string or a whole number.
pub struct CorrelationId;

impl PartialSchema for CorrelationId {
    fn schema() -> RefOr<Schema> {
        let name = ObjectBuilder::new()
            .schema_type(Type::String)
            .max_length(Some(MAX_CORRELATION_ID));
        let number = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(isize::MIN))
            .maximum(Some(usize::MAX));
        OneOfBuilder::new()
            .description(Some(
                "A string of up to 255 characters, or a whole number of 64 bits.",
            ))
            .item(name)
            .item(number)
            .into()
    }
}

impl ToSchema for CorrelationId {}
