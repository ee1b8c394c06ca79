//! Lists, page by page. Handlers ask for one row more than a page holds, to see whether there is a next one.

use serde::{Deserialize as _, Serialize, de::DeserializeOwned};
use shared::{
    knowledge::{ArticleSummary, Place, Sort},
    pagination,
};
use uuid::Uuid;

use crate::error::ApiError;

/// How many rows a page holds: as many as were asked for, from 1 to `most`, or else `usual`.
pub(super) fn limit(asked: Option<i64>, usual: i64, most: i64) -> Result<i64, ApiError> {
    let limit = asked.unwrap_or(usual);
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    Err(ApiError::invalid(format!("`limit` must be from 1 to {most}; this one is {limit}.")))
}

/// The sort key of the last row of an earlier page, by its cursor.
pub(crate) fn after<K: DeserializeOwned>(cursor: Option<&str>) -> Result<Option<K>, ApiError> {
    let bad = || ApiError::invalid("`cursor` was not made by this list. Leave it out to begin with the first page.");
    cursor.map(|cursor| pagination::decode(cursor).ok_or_else(bad)).transpose()
}

/// Where a list of articles goes on: the place of the last article of an earlier page of the same list. `list` is the list's
/// name (see [`pagination::list_name`]).
pub(crate) fn after_article(list: &str, sort: Sort, cursor: Option<&str>) -> Result<Option<(Place, Uuid)>, ApiError> {
    let Some((of, (place, id))) = after::<(String, (Place, Uuid))>(cursor)? else { return Ok(None) };
    if of != list || !sort.has(&place) {
        return Err(ApiError::invalid(
            "`cursor` is of a list with another order or other filters. Keep these the same from page to page, or leave \
             `cursor` out to begin with the first page.",
        ));
    }
    Ok(Some((place, id)))
}

/// Like [`next_cursor`], for a list of articles.
pub(crate) fn next_article(rows: &mut Vec<ArticleSummary>, limit: i64, list: &str, sort: Sort) -> Option<String> {
    next_cursor(rows, limit, |last| (list, sort.place(last)))
}

/// Cuts off the row that is one too many; the cursor of the next page, if there is one.
pub(crate) fn next_cursor<T, K: Serialize>(rows: &mut Vec<T>, limit: i64, key: impl FnOnce(&T) -> K) -> Option<String> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if rows.len() <= limit {
        return None;
    }
    rows.truncate(limit);
    rows.last().map(|last| pagination::encode(&key(last)))
}

/// A number in an address. Serde's own error would not say which parameter it is about.
pub(super) fn whole_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |_| serde::de::Error::custom(format!("`limit` must be a whole number; {text:?} is none"));
    text.parse().map(Some).map_err(wrong)
}
