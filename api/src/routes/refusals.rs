//! The refusals that many operations have in common, for their descriptions: those of who calls stand for the extractors of
//! callers, those of what is sent for the extractors of queries and bodies.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses, ToSchema as _,
    openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder},
};

use crate::{
    caller::{Admin, Agent, Author, Editor, Operator, Reader},
    error::Problem,
};

type Refusals = BTreeMap<String, RefOr<Response>>;

const NO_CREDENTIAL: (u16, &str) = (401, "No valid credential");
const NO_DATABASE: (u16, &str) = (503, "The database is away");
const INVALID: (u16, &str) = (400, "The request is not valid");

/// An operation that takes parameters, or a body that is not JSON.
pub(crate) struct InvalidRequest;

/// An operation that takes a body of JSON.
pub(crate) struct InvalidBody;

/// An operation by which readers leave something: a person, or a visitor with a session.
pub(crate) struct Leaver;

impl IntoResponses for Reader {
    fn responses() -> Refusals {
        refusals(&[NO_CREDENTIAL, NO_DATABASE])
    }
}

impl IntoResponses for Author {
    fn responses() -> Refusals {
        refusals(&[NO_CREDENTIAL, (403, "The caller is no author"), NO_DATABASE])
    }
}

impl IntoResponses for Editor {
    fn responses() -> Refusals {
        refusals(&[NO_CREDENTIAL, (403, "The caller is no editor"), NO_DATABASE])
    }
}

impl IntoResponses for Agent {
    fn responses() -> Refusals {
        refusals(&[NO_CREDENTIAL, (403, "The caller is no agent"), NO_DATABASE])
    }
}

impl IntoResponses for Admin {
    fn responses() -> Refusals {
        refusals(&[NO_CREDENTIAL, (403, "The caller is no admin"), NO_DATABASE])
    }
}

impl IntoResponses for Operator {
    fn responses() -> Refusals {
        refusals(&[NO_CREDENTIAL, (403, "The caller is no operator"), NO_DATABASE])
    }
}

impl IntoResponses for Leaver {
    fn responses() -> Refusals {
        refusals(&[(401, "No valid credential, and no session"), (403, "Machines leave nothing"), NO_DATABASE])
    }
}

impl IntoResponses for InvalidRequest {
    fn responses() -> Refusals {
        refusals(&[INVALID])
    }
}

impl IntoResponses for InvalidBody {
    fn responses() -> Refusals {
        refusals(&[INVALID, (413, "The body is too large"), (415, "The body is no JSON")])
    }
}

/// Statuses and their descriptions, each answered with a [`Problem`].
fn refusals(of: &[(u16, &str)]) -> Refusals {
    let schema = Ref::from_schema_name(Problem::name());
    let content = || ContentBuilder::new().schema(Some(schema.clone())).build();
    let response = |description: &str| {
        ResponseBuilder::new().description(description).content("application/problem+json", content()).build()
    };
    of.iter().map(|(status, description)| (status.to_string(), response(description).into())).collect()
}
