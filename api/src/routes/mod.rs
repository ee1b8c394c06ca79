//! The whole URL table. A test walks it: every route must be here to exist, and says who may call it.

mod articles;
mod assets;
mod assistant;
mod audit_log;
mod bulk;
mod categories;
mod chat;
mod contextual;
mod conversations;
mod conversations_admin;
mod export;
mod feedback;
mod handovers;
mod health;
mod imports;
mod inbox;
mod job_events;
mod jobs;
mod language_model;
mod memories;
mod paging;
mod people;
mod queues;
mod refusals;
mod reindex;
mod replays;
mod revisions;
mod search;
mod search_admin;
mod taxonomy;
mod upload;
mod views;
mod writing;

pub(crate) use articles::{
    ArticleDetail, ArticleLine, ArticlePage, Breadcrumb, HeadingLine, RelatedArticle, article_url, in_address,
    link_target, moved,
};
pub(crate) use assets::AssetLine;
pub(crate) use assistant::{
    AnswerFeedbackBody, AskBody, ask_for, cancel_answer, check_tellable, find_answer, parse_page, parse_question,
    rate_answer,
};
pub(crate) use audit_log::{AuditEntry, AuditPage};
pub(crate) use bulk::BulkBody;
pub(crate) use categories::{CategoryLine, CategoryTree, category_url};
pub(crate) use chat::ChatTokenLine;
pub(crate) use contextual::{ContextualArticle, ContextualHelp, RuleBody, RuleLine, RuleList};
pub(crate) use conversations::{ConversationLine, ConversationPage, ExchangeLine, TranscriptBody};
pub(crate) use conversations_admin::{AskedBody, AskedLine, AskedPage};
pub(crate) use feedback::{BookmarkPage, Kept, ReportBody, SuggestionBody, VoteBody, VoteCounts};
pub(crate) use handovers::{CloseBody, HandoverBody, HandoverDetail, HandoverKept, HandoverLine, HandoverPage};
pub(crate) use imports::{ImportLine, ImportPage};
pub(crate) use inbox::{ReportLine, ReportPage, SettleBody, Settled, SuggestionLine, SuggestionPage};
pub(crate) use jobs::{JobLine, JobPage, JobProgress, JobSelection, JobStarted, JobsCancelled, JobsChanged};
pub(crate) use language_model::{
    ApiKeyShown, LanguageModel, LanguageModelBody, LanguageModelInUse, LanguageModelUsage, UsageDay, UsageToday,
};
pub(crate) use memories::{MemoryLine, MemoryList};
pub(crate) use paging::{after_article, next_article};
pub(crate) use people::{PersonBody, PersonErasedBody};
pub(crate) use queues::{QueueLine, QueueList, QueuePaused, Schedule, ScheduleLine};
pub(crate) use reindex::ReindexBody;
pub(crate) use replays::{FactLine, PassageLine, ReplayBody, TimingsLine};
pub(crate) use revisions::{RestoreBody, RevisionDiff, RevisionLine, RevisionPage};
pub(crate) use search::{
    CategoryFacet, ClickBody, Completions, Facet, SearchBody, SearchFacets, SearchResponse, SearchResult, TitleLine,
    asked_in, keep,
};
pub(crate) use search_admin::{
    PinBody, PinLine, PinList, SearchLine, SearchesPage, SynonymBody, SynonymLine, SynonymList,
};
pub(crate) use taxonomy::{
    CategoryChangeBody, CategoryList, CategoryOrderBody, ManagedCategory, ManagedTag, NewCategoryBody, TagBody, TagList,
};
pub(crate) use upload::FileBody;
pub(crate) use views::ViewBody;
pub(crate) use writing::{
    ArticleChangeBody, NewArticleBody, ReviewBody, StepBody, TranslationLine, WritingArticle, WritingPage,
};

/// Where the OpenAPI document finds the descriptions that `#[utoipa::path]` makes.
pub(crate) mod described {
    pub(crate) use super::{
        articles::{__path_detail, __path_list},
        assets::__path_add as __path_add_image,
        assistant::{
            __path_answer, __path_ask, __path_cancel as __path_cancel_answer, __path_rate as __path_rate_answer,
        },
        audit_log::__path_list as __path_audit_log,
        bulk::__path_change as __path_bulk,
        categories::__path_tree,
        chat::__path_token as __path_chat_token,
        contextual::{
            __path_add_rule, __path_delete_rule, __path_help as __path_contextual, __path_replace_rule, __path_rules,
        },
        conversations::{
            __path_detail as __path_conversation, __path_erase as __path_erase_conversation,
            __path_list as __path_conversations,
        },
        conversations_admin::{__path_detail as __path_any_conversation, __path_list as __path_all_conversations},
        export::__path_download as __path_export,
        feedback::{
            __path_bookmarks, __path_remove_bookmark, __path_report, __path_set_bookmark, __path_suggest,
            __path_take_vote_back, __path_vote, __path_votes,
        },
        handovers::{
            __path_close as __path_close_handover, __path_detail as __path_handover, __path_list as __path_handovers,
            __path_request as __path_request_handover,
        },
        imports::{__path_detail as __path_import, __path_list as __path_imports, __path_start as __path_start_import},
        inbox::{__path_reports, __path_settle_report, __path_settle_suggestion, __path_suggestions},
        job_events::__path_events,
        jobs::{__path_cancel, __path_detail as __path_job, __path_discard, __path_list as __path_jobs, __path_retry},
        language_model::{
            __path_set as __path_set_language_model, __path_show as __path_language_model,
            __path_usage as __path_language_model_usage,
        },
        memories::{__path_forget, __path_forget_all, __path_list as __path_memories},
        people::{__path_erase as __path_erase_person, __path_export as __path_export_person},
        queues::{__path_list as __path_queues, __path_pause, __path_resume, __path_schedule},
        reindex::__path_start as __path_reindex,
        replays::__path_replay,
        revisions::{__path_detail as __path_revision, __path_diff, __path_list as __path_revisions, __path_restore},
        search::{__path_click, __path_complete, __path_search},
        search_admin::{
            __path_add_synonyms, __path_delete_synonyms, __path_pin, __path_pins, __path_replace_synonyms,
            __path_searches, __path_synonyms,
        },
        taxonomy::{
            __path_categories, __path_change_category, __path_create_category, __path_create_tag,
            __path_delete_category, __path_delete_tag, __path_order_categories, __path_rename_tag, __path_tags,
        },
        views::__path_view,
        writing::{
            __path_change, __path_create, __path_detail as __path_written, __path_list as __path_writing,
            __path_review, __path_set_status,
        },
    };
}

use actix_web::{HttpRequest, Resource, Route, http::Method, middleware::from_fn, web};

use crate::{
    MAX_ARTICLE_BODY_BYTES, boundary,
    error::{self, ApiError, Code},
    openapi, pages,
};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody; the answer holds nothing of a tenant but its name.
    Open,
    /// Whoever may read: the answer depends on tenant and roles.
    Reader,
    /// The same over a WebSocket, which says by how it is closed who may.
    Socket,
    /// Who writes articles.
    Author,
    /// Who decides what readers see.
    Editor,
    /// Who goes on with conversations of the assistant.
    Agent,
    /// Who manages the tenant's help center.
    Admin,
    /// Who looks after the deployment.
    Operator,
}

/// An address, a method, who may call it and what answers.
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// The pattern, as in the OpenAPI document.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Without a method: `configure` adds it.
    handler: fn() -> Route,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({:?})", self.method, self.path, self.access)
    }
}

/// Every route.
#[expect(clippy::too_many_lines, reason = "the whole table on one screen")]
#[rustfmt::skip]
pub fn table() -> Vec<Endpoint> {
    use Access::{Admin, Agent, Author, Editor, Open, Operator, Reader, Socket};
    let get = |path, access, handler| Endpoint { method: Method::GET, path, access, handler };
    let post = |path, access, handler| Endpoint { method: Method::POST, path, access, handler };
    let put = |path, access, handler| Endpoint { method: Method::PUT, path, access, handler };
    let patch = |path, access, handler| Endpoint { method: Method::PATCH, path, access, handler };
    let delete = |path, access, handler| Endpoint { method: Method::DELETE, path, access, handler };
    vec![
        // API
        post("/api/v2/help-center/search/",        Reader, || web::to(search::search)),
        get("/api/v2/help-center/search/suggestions/",   Reader, || web::to(search::complete)),
        post("/api/v2/help-center/search/{id}/clicks/",  Reader, || web::to(search::click)),
        post("/api/v2/help-center/assistant/",     Reader, || web::to(assistant::ask)),
        post("/api/v2/help-center/assistant/token/", Reader, || web::to(chat::token)),
        get("/api/v2/help-center/assistant/answers/{id}/", Reader, || web::to(assistant::answer)),
        get("/api/v2/help-center/assistant/conversations/",                 Reader, || web::to(conversations::list)),
        get("/api/v2/help-center/assistant/conversations/{session_id}/",    Reader, || web::to(conversations::detail)),
        delete("/api/v2/help-center/assistant/conversations/{session_id}/", Reader, || web::to(conversations::erase)),
        post("/api/v2/help-center/assistant/handovers/",                    Reader, || web::to(handovers::request)),
        get("/api/v2/help-center/assistant/memories/",                      Reader, || web::to(memories::list)),
        delete("/api/v2/help-center/assistant/memories/",                   Reader, || web::to(memories::forget_all)),
        delete("/api/v2/help-center/assistant/memories/{id}/",              Reader, || web::to(memories::forget)),
        post("/api/v2/help-center/assistant/answers/{id}/cancel/",  Reader, || web::to(assistant::cancel)),
        put("/api/v2/help-center/assistant/answers/{id}/feedback/", Reader, || web::to(assistant::rate)),
        get("/ws/help-center/chat/{session_id}/",  Socket, || web::to(chat::open)),
        get("/api/v2/help-center/articles/",       Reader, || web::to(articles::list)),
        get("/api/v2/help-center/articles/{id}/",  Reader, || web::to(articles::detail)),
        get("/api/v2/help-center/categories/",     Reader, || web::to(categories::tree)),
        get("/api/v2/help-center/contextual/",     Reader, || web::to(contextual::help)),
        post("/api/v2/help-center/articles/{id}/view/",        Reader, || web::to(views::view)),
        get("/api/v2/help-center/articles/{id}/vote/",         Reader, || web::to(feedback::votes)),
        put("/api/v2/help-center/articles/{id}/vote/",         Reader, || web::to(feedback::vote)),
        delete("/api/v2/help-center/articles/{id}/vote/",      Reader, || web::to(feedback::take_vote_back)),
        post("/api/v2/help-center/articles/{id}/reports/",     Reader, || web::to(feedback::report)),
        put("/api/v2/help-center/articles/{id}/bookmark/",     Reader, || web::to(feedback::set_bookmark)),
        delete("/api/v2/help-center/articles/{id}/bookmark/",  Reader, || web::to(feedback::remove_bookmark)),
        get("/api/v2/help-center/bookmarks/",                  Reader, || web::to(feedback::bookmarks)),
        post("/api/v2/help-center/suggestions/",               Reader, || web::to(feedback::suggest)),
        // API, for staff: literal addresses before those with a part to be filled in
        get("/api/v2/help-center/admin/articles/",                 Author, || web::to(writing::list)),
        post("/api/v2/help-center/admin/articles/",                Author, || web::to(writing::create)),
        post("/api/v2/help-center/admin/articles/bulk/",           Editor, || web::to(bulk::change)),
        get("/api/v2/help-center/admin/articles/{id}/",            Author, || web::to(writing::detail)),
        patch("/api/v2/help-center/admin/articles/{id}/",          Author, || web::to(writing::change)),
        post("/api/v2/help-center/admin/articles/{id}/status/",    Author, || web::to(writing::set_status)),
        post("/api/v2/help-center/admin/articles/{id}/review/",    Author, || web::to(writing::review)),
        get("/api/v2/help-center/admin/articles/{id}/revisions/",  Author, || web::to(revisions::list)),
        get("/api/v2/help-center/admin/articles/{id}/revisions/{number}/", Author, || web::to(revisions::detail)),
        get("/api/v2/help-center/admin/articles/{id}/diff/",       Author, || web::to(revisions::diff)),
        post("/api/v2/help-center/admin/articles/{id}/restore/",   Author, || web::to(revisions::restore)),
        get("/api/v2/help-center/admin/categories/",               Author, || web::to(taxonomy::categories)),
        post("/api/v2/help-center/admin/categories/",              Editor, || web::to(taxonomy::create_category)),
        put("/api/v2/help-center/admin/categories/order/",         Editor, || web::to(taxonomy::order_categories)),
        patch("/api/v2/help-center/admin/categories/{id}/",        Editor, || web::to(taxonomy::change_category)),
        delete("/api/v2/help-center/admin/categories/{id}/",       Editor, || web::to(taxonomy::delete_category)),
        get("/api/v2/help-center/admin/tags/",                     Author, || web::to(taxonomy::tags)),
        post("/api/v2/help-center/admin/tags/",                    Editor, || web::to(taxonomy::create_tag)),
        patch("/api/v2/help-center/admin/tags/{id}/",              Editor, || web::to(taxonomy::rename_tag)),
        delete("/api/v2/help-center/admin/tags/{id}/",             Editor, || web::to(taxonomy::delete_tag)),
        post("/api/v2/help-center/admin/assets/",                  Author, || web::to(assets::add)),
        get("/api/v2/help-center/admin/reports/",                  Author, || web::to(inbox::reports)),
        patch("/api/v2/help-center/admin/reports/{id}/",           Editor, || web::to(inbox::settle_report)),
        get("/api/v2/help-center/admin/suggestions/",              Author, || web::to(inbox::suggestions)),
        patch("/api/v2/help-center/admin/suggestions/{id}/",       Editor, || web::to(inbox::settle_suggestion)),
        get("/api/v2/help-center/admin/searches/",                 Editor, || web::to(search_admin::searches)),
        get("/api/v2/help-center/admin/conversations/",            Agent,  || web::to(conversations_admin::list)),
        get("/api/v2/help-center/admin/conversations/{id}/",       Agent,  || web::to(conversations_admin::detail)),
        get("/api/v2/help-center/admin/answers/{id}/",             Agent,  || web::to(replays::replay)),
        get("/api/v2/help-center/admin/handovers/",                Agent,  || web::to(handovers::list)),
        get("/api/v2/help-center/admin/handovers/{id}/",           Agent,  || web::to(handovers::detail)),
        patch("/api/v2/help-center/admin/handovers/{id}/",         Agent,  || web::to(handovers::close)),
        get("/api/v2/help-center/admin/people/{subject}/assistant/",    Admin, || web::to(people::export)),
        delete("/api/v2/help-center/admin/people/{subject}/assistant/", Admin, || web::to(people::erase)),
        get("/api/v2/help-center/admin/synonyms/",                 Admin,  || web::to(search_admin::synonyms)),
        post("/api/v2/help-center/admin/synonyms/",                Admin,  || web::to(search_admin::add_synonyms)),
        put("/api/v2/help-center/admin/synonyms/{id}/",            Admin,  || web::to(search_admin::replace_synonyms)),
        delete("/api/v2/help-center/admin/synonyms/{id}/",         Admin,  || web::to(search_admin::delete_synonyms)),
        get("/api/v2/help-center/admin/search-pins/",              Admin,  || web::to(search_admin::pins)),
        put("/api/v2/help-center/admin/search-pins/",              Admin,  || web::to(search_admin::pin)),
        get("/api/v2/help-center/admin/contextual-rules/",         Admin,  || web::to(contextual::rules)),
        post("/api/v2/help-center/admin/contextual-rules/",        Admin,  || web::to(contextual::add_rule)),
        put("/api/v2/help-center/admin/contextual-rules/{id}/",    Admin,  || web::to(contextual::replace_rule)),
        delete("/api/v2/help-center/admin/contextual-rules/{id}/", Admin,  || web::to(contextual::delete_rule)),
        post("/api/v2/help-center/admin/import/",                  Admin,  || web::to(imports::start)),
        get("/api/v2/help-center/admin/imports/",                  Admin,  || web::to(imports::list)),
        get("/api/v2/help-center/admin/imports/{id}/",             Admin,  || web::to(imports::detail)),
        get("/api/v2/help-center/admin/export/",                   Admin,  || web::to(export::download)),
        post("/api/v2/help-center/admin/reindex/",                 Admin,  || web::to(reindex::start)),
        get("/api/v2/help-center/admin/audit-log/",                Admin,  || web::to(audit_log::list)),
        get("/api/v2/help-center/admin/language-model/",           Admin,  || web::to(language_model::show)),
        put("/api/v2/help-center/admin/language-model/",           Admin,  || web::to(language_model::set)),
        get("/api/v2/help-center/admin/language-model/usage/",     Admin,  || web::to(language_model::usage)),
        get("/api/v2/help-center/admin/jobs/",               Admin,    || web::to(jobs::list)),
        post("/api/v2/help-center/admin/jobs/retry/",        Admin,    || web::to(jobs::retry)),
        post("/api/v2/help-center/admin/jobs/discard/",      Admin,    || web::to(jobs::discard)),
        post("/api/v2/help-center/admin/jobs/cancel/",       Admin,    || web::to(jobs::cancel)),
        get("/api/v2/help-center/admin/jobs/{id}/",          Admin,    || web::to(jobs::detail)),
        get("/api/v2/help-center/admin/jobs/{id}/events/",   Admin,    || web::to(job_events::events)),
        get("/api/v2/help-center/admin/queues/",             Operator, || web::to(queues::list)),
        post("/api/v2/help-center/admin/queues/{name}/pause/",  Operator, || web::to(queues::pause)),
        post("/api/v2/help-center/admin/queues/{name}/resume/", Operator, || web::to(queues::resume)),
        get("/api/v2/help-center/admin/schedule/",           Operator, || web::to(queues::schedule)),
        // API, its description
        get("/api/openapi.json",                   Open,   || web::to(openapi::document)),
        get("/api/docs/",                          Open,   || web::to(openapi::index)),
        get("/api/docs/{file}",                    Open,   || web::to(openapi::asset)),
        // Health
        get("/health/live",                        Open,   || web::to(health::live)),
        get("/health/ready",                       Open,   || web::to(health::ready)),
        // Pages
        get("/",                                   Reader, || web::to(pages::home)),
        get("/search/",                            Reader, || web::to(pages::search)),
        get("/categories/{slug}/",                 Reader, || web::to(pages::category)),
        get("/articles/{slug}/",                   Reader, || web::to(pages::article)),
        get("/sign-in/",                           Open,   || web::to(pages::sign_in_form)),
        post("/sign-in/",                          Open,   || web::to(pages::sign_in)),
        post("/sign-out/",                         Open,   || web::to(pages::sign_out)),
        get("/assets/{file}",                      Open,   || web::to(pages::asset)),
        get("/assets/{hash}/{name}",               Reader, || web::to(pages::image)),
    ]
}

/// What readers ask for again and again has a tag …
const READING: &str = "/api/v2/help-center/";
/// … but not what staff asks for, which streams in part.
const STAFF: &str = "/api/v2/help-center/admin/";
/// Where bodies hold whole articles.
const WRITING: &str = "/api/v2/help-center/admin/articles/";

/// Where whole archives are sent and fetched.
const TRANSFERS: [&str; 2] = ["/api/v2/help-center/admin/import/", "/api/v2/help-center/admin/export/"];

/// What waits for answers as long as they take, each with a limit of its own.
const ANSWERS: [&str; 2] = ["/api/v2/help-center/assistant/", "/api/v2/help-center/assistant/answers/{id}/"];

/// Registers the table. An address is one resource: other methods than its own are answered with 405, and the address
/// without its final slash leads to the one with it.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    let mut paths: Vec<&'static str> = Vec::new();
    for endpoint in table() {
        if !paths.contains(&endpoint.path) {
            paths.push(endpoint.path);
        }
    }
    for path in paths {
        let mut resource: Resource = web::resource(path).name(path);
        let mut allow = Vec::new();
        for endpoint in table().into_iter().filter(|endpoint| endpoint.path == path) {
            allow.push(endpoint.method.to_string());
            if endpoint.method == Method::GET {
                allow.push(Method::HEAD.to_string());
                resource = resource.route((endpoint.handler)().method(Method::HEAD));
            }
            resource = resource.route((endpoint.handler)().method(endpoint.method));
        }
        let allow = allow.join(", ");
        let mut resource = resource.default_service(web::to(move || method_not_allowed(allow.clone())));
        if path.starts_with(WRITING) {
            resource = resource.app_data(error::json_up_to(MAX_ARTICLE_BODY_BYTES));
        }
        if TRANSFERS.contains(&path) {
            config.service(resource.wrap(from_fn(boundary::transfer_deadline)));
        } else if ANSWERS.contains(&path) {
            config.service(resource);
        } else if path.starts_with(READING) && !path.starts_with(STAFF) {
            config.service(resource.wrap(from_fn(boundary::deadline)).wrap(from_fn(boundary::tagged)));
        } else {
            config.service(resource.wrap(from_fn(boundary::deadline)));
        }
        if let Some(without_slash) = path.strip_suffix('/').filter(|p| !p.is_empty()) {
            config.service(web::resource(without_slash).to(add_slash));
        }
    }
}

/// A field that may be null, told from one that is left out.
fn given<'de, D: serde::Deserializer<'de>, T: serde::Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    <Option<T> as serde::Deserialize>::deserialize(deserializer).map(Some)
}

/// What no route knows.
pub(crate) async fn not_found() -> Result<&'static str, ApiError> {
    Err(ApiError::not_found(
        "There is nothing at this address. Check it for a typing error, or start from the home page.",
    ))
}

#[expect(clippy::unused_async, reason = "handlers are async functions")]
async fn method_not_allowed(allow: String) -> Result<&'static str, ApiError> {
    let detail = format!("This address answers to {allow} only.");
    Err(ApiError { allow: Some(allow), ..ApiError::new(Code::MethodNotAllowed, detail) })
}

/// 308 keeps method and body.
async fn add_slash(request: HttpRequest) -> actix_web::HttpResponse {
    let query = request.uri().query().map(|q| format!("?{q}")).unwrap_or_default();
    // A path that begins with two slashes would be another host's address.
    let path = request.uri().path().trim_start_matches('/');
    actix_web::HttpResponse::PermanentRedirect()
        .insert_header((actix_web::http::header::LOCATION, format!("/{path}/{query}")))
        .finish()
}
