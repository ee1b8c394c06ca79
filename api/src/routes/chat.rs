//! The way into a chat: the handshake of its socket, and the token with which people who are signed in by a cookie open it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    http::header,
    web::{Bytes, Data, Path, Payload},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    assistant::{asker, check_session},
    search::asked_in,
};
use crate::{
    Services, address,
    caller::{Reader, SESSION_COOKIE},
    chat::{self, Chat, Credential, PROTOCOL, Place, Refused},
    error::{ApiError, Code, Problem},
    limits,
};

/// Opens the socket of a chat session. Not in the OpenAPI document, which has no words for sockets: docs/help/developers/chat.md.
///
/// What is wrong with the request itself is answered before the upgrade; who is not let in is told so over the socket, since browsers
/// show pages nothing of a handshake that failed.
pub(crate) async fn open(
    services: Data<Services>,
    request: HttpRequest,
    session: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let is_upgrade =
        request.headers().get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !is_upgrade {
        return Err(ApiError::new(
            Code::UpgradeRequired,
            "This address speaks WebSocket: open it with a WebSocket client.",
        ));
    }
    chat::check_origin(&request, &services).inspect_err(|_| Refused::Origin.count())?;
    let session = session.into_inner();
    check_session(&session)?;
    let place = place(&services)?;
    let entered = match enter(&services, &request, session).await {
        // What cannot be told now is not the caller's doing.
        Err(error) if error.code.status().is_server_error() => return Err(error),
        entered => entered,
    };
    let (response, out, incoming) =
        actix_ws::handle_with_protocols(&request, payload, &[PROTOCOL]).map_err(|error| ApiError {
            cause: Some(anyhow::anyhow!("{error}")),
            ..ApiError::invalid("The WebSocket handshake is not complete.")
        })?;
    match entered {
        Ok(chat) => actix_web::rt::spawn(chat::serve(chat, out, incoming)),
        Err(error) => actix_web::rt::spawn(chat::turn_away(out, error)),
    };
    Ok(response.map_body(|_, body| BoxBody::new(Placed { body, _place: place })))
}

/// A place in this process. None: a proxy may try another one.
fn place(services: &Services) -> Result<Place, ApiError> {
    let permit = services.sockets.clone().try_acquire_owned().ok().filter(|_| !services.stopping.is_cancelled());
    permit.map(Place::new).ok_or_else(|| {
        Refused::Full.count();
        ApiError::new(
            Code::ServiceUnavailable,
            "No more chats can be opened here at the moment. Please try again later.",
        )
    })
}

async fn enter(services: &Data<Services>, request: &HttpRequest, session: String) -> Result<Chat, ApiError> {
    let (credential, caller) = Credential::of(request, services).await?;
    // Nobody is who they are by a name that others could guess.
    let asker =
        asker(services, &caller, &session).map_err(|error| ApiError { code: Code::AuthenticationRequired, ..error })?;
    let address = address::of(request, &services.config.trusted_proxies);
    let places = limits::sockets(&services.config.chat, services.authenticator.pepper(), &caller, &asker, address);
    let locale = asked_in(request);
    Ok(Chat { services: services.clone(), credential, caller, asker, session, locale, address, places })
}

/// The body of a socket's answer: what is sent. It is gone when the connection is, and its place is free then.
struct Placed {
    body: BoxBody,
    _place: Place,
}

impl MessageBody for Placed {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

/// A token to open a chat with.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatTokenLine {
    /// Offer it as the subprotocol `bearer.` and this text, beside `helpcenter.chat`.
    token: String,
    /// Until when a chat can be opened with it. One that is open stays open for as long as the person is signed in.
    expires_at: DateTime<Utc>,
}

/// Gives a person who is signed in on this site a token to open a chat with: pages cannot read the cookie, and a cookie alone opens
/// none. Only pages of the help center itself get one.
#[utoipa::path(
    post, path = "/api/v2/help-center/assistant/token/", tag = "Assistant", operation_id = "createChatToken",
    responses(
        (status = 200, description = "The token", body = ChatTokenLine),
        (status = 403, description = "The page that asks is not of this site", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The caller is not signed in by a cookie, and needs no token", body = Problem, content_type = "application/problem+json"),
        Reader,
    )
)]
pub(crate) async fn token(
    services: Data<Services>,
    Reader(_caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let cookie = request.cookie(SESSION_COOKIE).filter(|_| !request.headers().contains_key(header::AUTHORIZATION));
    let Some(cookie) = cookie else {
        return Err(ApiError::new(
            Code::NotPossible,
            "This is for people who are signed in on this site. Open the chat with your own token or API key, or without any where \
             the help center is public.",
        ));
    };
    chat::check_own_origin(&request, &services)?;
    let token = services.authenticator.chat_token(cookie.value()).await?;
    let line = ChatTokenLine { token: token.text, expires_at: token.expires_at };
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(line))
}
