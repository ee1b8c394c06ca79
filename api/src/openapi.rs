//! The OpenAPI document and a page to browse it.

use std::sync::{Arc, LazyLock};

use actix_web::{HttpResponse, http::header, web};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use crate::{
    answering, error,
    routes::{self, described},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Help Center API",
        description = "Articles, categories and search of a help center. What an answer holds depends on the caller's \
                       tenant and roles; what a caller may not see looks like what does not exist. Articles are written by \
                       people with the role `author` and published by those with the role `editor`. Those with the role `agent` go on \
                       with conversations of the assistant, as editors may. Jobs are for admins: people \
                       with the role `admin`, keys with the scope `manage`; they may do what authors and editors may. Queues and schedule are those of the whole \
                       deployment, for keys with the scope `operate`.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        described::search,
        described::complete,
        described::click,
        described::searches,
        described::synonyms,
        described::add_synonyms,
        described::replace_synonyms,
        described::delete_synonyms,
        described::pins,
        described::pin,
        described::contextual,
        described::rules,
        described::add_rule,
        described::replace_rule,
        described::delete_rule,
        described::reindex,
        described::list,
        described::detail,
        described::tree,
        described::jobs,
        described::job,
        described::events,
        described::retry,
        described::discard,
        described::cancel,
        described::queues,
        described::pause,
        described::resume,
        described::schedule,
        described::writing,
        described::create,
        described::written,
        described::change,
        described::set_status,
        described::review,
        described::bulk,
        described::add_image,
        described::start_import,
        described::imports,
        described::import,
        described::export,
        described::revisions,
        described::revision,
        described::diff,
        described::restore,
        described::categories,
        described::create_category,
        described::order_categories,
        described::change_category,
        described::delete_category,
        described::tags,
        described::create_tag,
        described::rename_tag,
        described::delete_tag,
        described::audit_log,
        described::language_model,
        described::set_language_model,
        described::language_model_usage,
        described::view,
        described::votes,
        described::vote,
        described::take_vote_back,
        described::report,
        described::set_bookmark,
        described::remove_bookmark,
        described::bookmarks,
        described::suggest,
        described::reports,
        described::settle_report,
        described::suggestions,
        described::settle_suggestion,
        described::ask,
        described::answer,
        described::conversations,
        described::conversation,
        described::erase_conversation,
        described::request_handover,
        described::memories,
        described::forget,
        described::forget_all,
        described::all_conversations,
        described::any_conversation,
        described::replay,
        described::handovers,
        described::handover,
        described::close_handover,
        described::export_person,
        described::erase_person,
        described::cancel_answer,
        described::rate_answer,
        described::chat_token
    ),
    components(schemas(
        routes::SearchBody,
        routes::SearchResponse,
        routes::SearchResult,
        routes::SearchFacets,
        routes::CategoryFacet,
        routes::Facet,
        routes::Completions,
        routes::TitleLine,
        routes::ClickBody,
        routes::SearchesPage,
        routes::SearchLine,
        routes::SynonymList,
        routes::SynonymLine,
        routes::SynonymBody,
        routes::PinList,
        routes::PinLine,
        routes::PinBody,
        routes::ContextualHelp,
        routes::ContextualArticle,
        routes::RuleList,
        routes::RuleLine,
        routes::RuleBody,
        routes::ReindexBody,
        routes::FileBody,
        routes::AssetLine,
        routes::ImportPage,
        routes::ImportLine,
        routes::ArticlePage,
        routes::ArticleLine,
        routes::ArticleDetail,
        routes::HeadingLine,
        routes::RelatedArticle,
        routes::Breadcrumb,
        routes::CategoryTree,
        routes::CategoryLine,
        routes::JobPage,
        routes::JobLine,
        routes::JobProgress,
        routes::JobSelection,
        routes::JobsChanged,
        routes::JobsCancelled,
        routes::QueueList,
        routes::QueueLine,
        routes::QueuePaused,
        routes::Schedule,
        routes::ScheduleLine,
        routes::WritingPage,
        routes::WritingArticle,
        routes::TranslationLine,
        routes::NewArticleBody,
        routes::ArticleChangeBody,
        routes::StepBody,
        routes::ReviewBody,
        routes::BulkBody,
        routes::JobStarted,
        routes::RevisionPage,
        routes::RevisionLine,
        routes::RevisionDiff,
        routes::RestoreBody,
        routes::CategoryList,
        routes::ManagedCategory,
        routes::NewCategoryBody,
        routes::CategoryChangeBody,
        routes::CategoryOrderBody,
        routes::TagList,
        routes::ManagedTag,
        routes::TagBody,
        routes::ViewBody,
        routes::VoteBody,
        routes::VoteCounts,
        routes::ReportBody,
        routes::BookmarkPage,
        routes::SuggestionBody,
        routes::Kept,
        routes::ReportPage,
        routes::ReportLine,
        routes::SuggestionPage,
        routes::SuggestionLine,
        routes::SettleBody,
        routes::Settled,
        routes::LanguageModel,
        routes::LanguageModelBody,
        routes::LanguageModelInUse,
        routes::ApiKeyShown,
        routes::LanguageModelUsage,
        routes::UsageDay,
        routes::UsageToday,
        routes::AuditPage,
        routes::AuditEntry,
        routes::AskBody,
        routes::ConversationPage,
        routes::ConversationLine,
        routes::TranscriptBody,
        routes::ExchangeLine,
        routes::HandoverBody,
        routes::HandoverKept,
        routes::HandoverPage,
        routes::HandoverLine,
        routes::HandoverDetail,
        routes::CloseBody,
        routes::MemoryList,
        routes::MemoryLine,
        routes::AskedPage,
        routes::AskedLine,
        routes::AskedBody,
        routes::ReplayBody,
        routes::PassageLine,
        routes::TimingsLine,
        routes::FactLine,
        routes::PersonBody,
        routes::PersonErasedBody,
        routes::AnswerFeedbackBody,
        routes::ChatTokenLine,
        answering::AnswerMessage,
        answering::AnswerEvent,
        answering::AnswerBody,
        answering::Ending,
        answering::UsageLine,
        answering::CitationLine,
        answering::NearestLine,
        error::Problem,
        error::Code
    )),
    modifiers(&Bearer),
    security((), ("bearer" = []))
)]
struct ApiDocument;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description = Some(
            "A token signed by the host application, or an API key (`hck_…`). Public help centers answer without."
                .to_owned(),
        );
        document
            .components
            .get_or_insert_with(Default::default)
            .add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| ApiDocument::openapi().to_pretty_json().unwrap_or_else(|_| "{}".to_owned()));

static BROWSER: LazyLock<Arc<utoipa_swagger_ui::Config<'static>>> = LazyLock::new(|| {
    Arc::new(utoipa_swagger_ui::Config::from("/api/openapi.json").validator_url("none").persist_authorization(false))
});

/// The page is a program of its own: its scripts and styles come from here, its requests go to here.
const BROWSER_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                              img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The OpenAPI 3.1 document, as JSON.
pub fn json() -> &'static str {
    &DOCUMENT
}

pub(crate) async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(json())
}

pub(crate) async fn index() -> Result<HttpResponse, error::ApiError> {
    file("index.html")
}

pub(crate) async fn asset(name: web::Path<String>) -> Result<HttpResponse, error::ApiError> {
    file(&name)
}

fn file(name: &str) -> Result<HttpResponse, error::ApiError> {
    let found = utoipa_swagger_ui::serve(name, BROWSER.clone())
        .map_err(|cause| error::ApiError::internal(anyhow::anyhow!("{cause}")))?
        .ok_or_else(|| error::ApiError::not_found("There is no such file."))?;
    Ok(HttpResponse::Ok()
        .content_type(found.content_type)
        .insert_header((header::CONTENT_SECURITY_POLICY, BROWSER_POLICY))
        .body(found.bytes.to_vec()))
}
