//! Doing what a client says.

use shared::assistant::{AnswerId, Asked};
use uuid::Uuid;

use super::{
    Socket,
    ending::Ending,
    json,
    message::{Refusal, Reply, Request},
};
use crate::{
    answering::Messages,
    error::ApiError,
    routes::{ask_for, cancel_answer, check_tellable, find_answer, parse_page, parse_question, rate_answer},
};

/// How many answers a socket follows at once.
const MOST_FOLLOWED: usize = 8;

type Obeyed = Result<Result<(), Refusal>, Ending>;

impl Socket {
    /// Does what a client says, if its credential is good still. The inner error: it is not done.
    pub(super) async fn obey(&mut self, request: Request) -> Obeyed {
        if let Err(error) = self.check().await? {
            return Ok(Err(Refusal::from(&error)));
        }
        let about = match &request {
            Request::Resume { answer_id, .. } | Request::Feedback { answer_id, .. } => Some(*answer_id),
            Request::Cancel { answer_id } => *answer_id,
            Request::Query { .. } => None,
        };
        let obeyed = match request {
            Request::Query { query, current_url } => self.ask(&query, current_url.as_deref()).await?,
            Request::Cancel { answer_id } => self.cancel(answer_id).await,
            Request::Resume { answer_id, after } => self.resume(answer_id, after).await,
            Request::Feedback { answer_id, helpful, comment } => {
                self.rate(answer_id, helpful, comment.as_deref()).await?
            }
        };
        Ok(obeyed.map_err(|refusal| Refusal { answer: refusal.answer.or(about), ..refusal }))
    }

    async fn ask(&mut self, query: &str, url: Option<&str>) -> Obeyed {
        if let Some(asked) = self.asked {
            let refusal = Refusal::for_now(
                "answer_in_progress",
                "One question at a time: wait for `done` or `error` of this answer, or cancel it.",
            );
            return Ok(Err(Refusal { answer: Some(asked), ..refusal }));
        }
        match self.enqueue(query, url).await {
            Ok(answer) => {
                self.asked = Some(answer.id);
                // Known from here on, whatever happens to this connection.
                self.send(json(&Reply::Status { seq: 0, answer_id: answer.id, status: "queued" })).await?;
                self.hear_of(answer, 0, true);
                Ok(Ok(()))
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    async fn enqueue(&self, query: &str, url: Option<&str>) -> Result<AnswerId, Refusal> {
        self.check_followed(None)?;
        let chat = &self.chat;
        let kept = async {
            let asked = Asked {
                asker: chat.asker.clone(),
                roles: chat.caller.roles.clone(),
                session: chat.session.clone(),
                question: parse_question(query)?,
                page: parse_page(url)?,
                locale: chat.locale.clone(),
            };
            ask_for(&chat.services, &chat.caller, &asked, chat.address).await
        };
        kept.await.map_err(|error: ApiError| {
            log(&error);
            Refusal::from(&error)
        })
    }

    async fn cancel(&self, answer: Option<Uuid>) -> Result<(), Refusal> {
        let Some(answer) = answer.or(self.asked) else {
            return Err(Refusal::new(
                "not_possible",
                "No answer is being written to this socket. Name one by `answer_id`.",
            ));
        };
        let chat = &self.chat;
        cancel_answer(&chat.services, chat.caller.tenant, &chat.asker, answer).await.map_err(|error| {
            log(&error);
            Refusal::from(&error)
        })
    }

    async fn resume(&mut self, answer: Uuid, after: u64) -> Result<(), Refusal> {
        self.check_followed(Some(answer))?;
        let chat = &self.chat;
        let tenant = chat.caller.tenant;
        let tellable = async {
            find_answer(&chat.services, tenant, &chat.asker, answer).await?;
            check_tellable(&chat.services, &chat.caller, answer).await
        };
        tellable.await.map_err(|error: ApiError| {
            log(&error);
            Refusal::from(&error)
        })?;
        self.hear_of(AnswerId { tenant, id: answer }, after, false);
        Ok(())
    }

    async fn rate(&mut self, answer: Uuid, helpful: bool, comment: Option<&str>) -> Obeyed {
        let chat = &self.chat;
        if let Err(error) = rate_answer(&chat.services, chat.caller.tenant, &chat.asker, answer, helpful, comment).await
        {
            log(&error);
            return Ok(Err(Refusal::from(&error)));
        }
        self.send(json(&Reply::Feedback { seq: 0, answer_id: answer, helpful })).await?;
        Ok(Ok(()))
    }

    fn hear_of(&mut self, answer: AnswerId, after: u64, is_new: bool) {
        let following = self.chat.services.relay.follow(self.chat.asker.clone(), answer, after, is_new);
        self.follow(answer.id, Messages::resumed(following, after));
    }

    fn check_followed(&self, answer: Option<Uuid>) -> Result<(), Refusal> {
        if answer.is_some_and(|answer| self.followed.contains(&answer)) {
            return Err(Refusal::new("not_possible", "This socket hears of that answer already."));
        }
        if self.followed.len() >= MOST_FOLLOWED {
            return Err(Refusal::for_now(
                "not_possible",
                format!("A socket hears of {MOST_FOLLOWED} answers at once. Wait until one of them has ended."),
            ));
        }
        Ok(())
    }
}

/// Logs what is ours, as is done for requests.
fn log(error: &ApiError) {
    if error.code.status().is_server_error() {
        let cause = error.cause.as_ref().map(|cause| format!("{cause:#}")).unwrap_or_default();
        tracing::error!(code = error.code.as_str(), cause, "chat.failed");
    }
}
