//! The server-rendered pages: useful without JavaScript, in the name of the tenant that the host name belongs to.

mod forms;
mod image;
mod viewing;
pub mod views;

use std::{sync::LazyLock, time::Instant};

use actix_web::{
    HttpMessage as _, HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Path, Query},
};
use askama::Template;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use shared::{
    auth::{Identity, Principal},
    db::TenantTx,
    knowledge::{self, ArticleFilter, ArticleSummary, CategoryNode, CategoryPaths, Sort, SortBy, feedback::ReaderKey},
    markdown, pagination,
    search::{self as searching, Arm, QueryError, SearchRequest},
    tenancy::{self, Tenant},
};
use uuid::Uuid;
use views::{
    ArticleLine, ArticlePage, CategoryCard, CategoryPage, Correction, Crumb, ErrorPage, HomePage, Layout, SearchHit,
    SearchPage, SignInPage, TocEntry,
};

pub(crate) use forms::{sign_in, sign_in_form, sign_out};
pub(crate) use image::image;

use crate::{
    Services,
    caller::{self, services},
    error::{ApiError, Code},
    routes::{after_article, article_url, asked_in, category_url, in_address, keep, link_target, moved, next_article},
};

const STYLESHEET: &str = include_str!("../../web/site.css");
/// The name changes with the content, so browsers may keep the file for ever.
static STYLESHEET_NAME: LazyLock<String> = LazyLock::new(|| {
    let hash = Sha256::digest(STYLESHEET);
    format!("site-{}.css", URL_SAFE_NO_PAD.encode(&hash[..12]))
});

const HOME_ARTICLES: i64 = 6;
const CATEGORY_ARTICLES: i64 = 50;
const SEARCH_RESULTS: usize = 20;
const WORDS_PER_MINUTE: usize = 200;

/// What every page needs: the tenant, who is reading, and the token of its forms.
pub(crate) struct Visit {
    tenant: Tenant,
    principal: Option<Principal>,
    csrf: forms::CsrfToken,
}

/// Kept with the request, so that an error page can show the layout that the page would have had.
struct KnownLayout(Layout);

impl Visit {
    /// Finds out who is visiting. The tenant is the caller's own, else that of the host name.
    async fn begin(request: &HttpRequest) -> Result<Self, ApiError> {
        let services = services(request)?;
        let principal = caller::identify(request).await?;
        let tenant = match &principal {
            Some(principal) => {
                let mut registry = services.database.registry().await?;
                tenancy::by_id(&mut registry, principal.tenant).await?
            }
            None => caller::tenant_of_host(request).await?,
        };
        let tenant = tenant.ok_or_else(|| ApiError::not_found("There is no help center at this address."))?;
        let csrf = forms::CsrfToken::of(request, services.authenticator.pepper());
        let visit = Self { tenant, principal, csrf };
        request.extensions_mut().insert(KnownLayout(visit.layout("")));
        Ok(visit)
    }

    fn layout(&self, title: &str) -> Layout {
        let person = self.principal.as_ref().and_then(|principal| match &principal.identity {
            Identity::Person { name, subject } => Some(name.clone().unwrap_or_else(|| subject.clone())),
            Identity::Anonymous | Identity::Machine { .. } => None,
        });
        Layout {
            tenant_name: self.tenant.name.clone(),
            title: title.to_owned(),
            person,
            csrf_token: self.csrf.token().to_owned(),
            stylesheet_url: stylesheet_url(),
            ..Layout::default()
        }
    }

    /// Sends a page, with the cookie that its forms need.
    fn page(&self, status: StatusCode, page: &impl Template) -> Result<HttpResponse, ApiError> {
        let html = page.render().map_err(ApiError::internal)?;
        let mut response = HttpResponse::build(status);
        if let Some(cookie) = self.csrf.cookie() {
            response.cookie(cookie);
        }
        Ok(response.content_type("text/html; charset=utf-8").body(html))
    }

    /// What the page's reader may read with; otherwise the way to sign in.
    async fn reader(request: &HttpRequest) -> Result<Result<(Self, Principal), HttpResponse>, ApiError> {
        let visit = Self::begin(request).await?;
        if let Some(principal) = visit.principal.clone() {
            return Ok(Ok((visit, principal)));
        }
        let next = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let location = format!("/sign-in/?{}", forms::encoded(&[("next", next)]));
        Ok(Err(HttpResponse::SeeOther().insert_header((header::LOCATION, location)).finish()))
    }
}

/// Categories and what was changed last.
pub(crate) async fn home(request: HttpRequest, services: Data<Services>) -> Result<HttpResponse, ApiError> {
    let (visit, caller) = match Visit::reader(&request).await? {
        Ok(visiting) => visiting,
        Err(sign_in) => return Ok(sign_in),
    };
    let mut tx = services.database.tenant(caller.tenant).await?;
    let tree = knowledge::categories(&mut tx, &caller.roles).await?;
    let filter = ArticleFilter { limit: HOME_ARTICLES, sort: SortBy::Updated.usual(), ..ArticleFilter::default() };
    let articles = knowledge::articles(&mut tx, &caller.roles, &filter).await?;
    let paths = CategoryPaths::in_tree(&tree);
    let page = HomePage {
        layout: Layout { canonical_url: Some(format!("{}/", services.config.public_url)), ..visit.layout("") },
        categories: tree.iter().map(card).collect(),
        articles: articles.into_iter().map(|article| line(article, &paths)).collect(),
        demo_hint: false,
    };
    visit.page(StatusCode::OK, &page)
}

#[derive(Deserialize)]
pub(crate) struct CategoryQuery {
    cursor: Option<String>,
}

/// A category: those below it and its articles.
pub(crate) async fn category(
    request: HttpRequest,
    services: Data<Services>,
    slug: Path<String>,
    query: Query<CategoryQuery>,
) -> Result<HttpResponse, ApiError> {
    let (visit, caller) = match Visit::reader(&request).await? {
        Ok(visiting) => visiting,
        Err(sign_in) => return Ok(sign_in),
    };
    let mut tx = services.database.tenant(caller.tenant).await?;
    let tree = knowledge::categories(&mut tx, &caller.roles).await?;
    let node = knowledge::category_by_slug(&tree, &slug)
        .ok_or_else(|| ApiError::not_found("There is no such category, or you may not see it."))?;
    let (list, sort) = (pagination::list_name(&["category", &node.slug]), Sort::default());
    let filter = ArticleFilter {
        categories: Some(vec![node.id]),
        limit: CATEGORY_ARTICLES + 1,
        sort,
        after: after_article(&list, sort, query.cursor.as_deref())?,
        ..ArticleFilter::default()
    };
    let mut articles = knowledge::articles(&mut tx, &caller.roles, &filter).await?;
    let url = category_url(&node.slug);
    let next_page_url = next_article(&mut articles, CATEGORY_ARTICLES, &list, sort)
        .map(|cursor| format!("{url}?{}", forms::encoded(&[("cursor", &cursor)])));
    let paths = CategoryPaths::in_tree(&tree);
    let mut breadcrumb = crumbs(Some(node.id), &paths);
    breadcrumb.pop(); // the page itself
    let page = CategoryPage {
        layout: Layout {
            canonical_url: Some(format!("{}{url}", services.config.public_url)),
            ..visit.layout(&node.name)
        },
        name: node.name.clone(),
        description: node.description.clone(),
        breadcrumb,
        subcategories: node.children.iter().map(card).collect(),
        articles: articles.into_iter().map(|article| line(article, &CategoryPaths::default())).collect(),
        next_page_url,
    };
    visit.page(StatusCode::OK, &page)
}

#[derive(Deserialize)]
pub(crate) struct SearchQuery {
    #[serde(default)]
    q: String,
}

/// Search results, with an address that can be shared.
pub(crate) async fn search(
    request: HttpRequest,
    services: Data<Services>,
    query: Query<SearchQuery>,
) -> Result<HttpResponse, ApiError> {
    let (visit, caller) = match Visit::reader(&request).await? {
        Ok(visiting) => visiting,
        Err(sign_in) => return Ok(sign_in),
    };
    let asked = query.into_inner().q;
    let mut page = SearchPage {
        layout: Layout { query: asked.clone(), ..visit.layout("Search") },
        results: Vec::new(),
        total: 0,
        degraded: false,
        did_you_mean: None,
        message: None,
        searched: false,
    };
    match asked.parse() {
        Ok(parsed) => {
            page.layout.title = format!("Search: {asked}");
            page.searched = true;
            let wanted = SearchRequest { language: asked_in(&request), ..SearchRequest::new(parsed, SEARCH_RESULTS) };
            find(&mut page, &services, &caller, &wanted).await?;
        }
        Err(QueryError::TooShort) if asked.trim().is_empty() => {}
        Err(problem) => page.message = Some(capitalised(&format!("{problem}."))),
    }
    visit.page(StatusCode::OK, &page)
}

async fn find(
    page: &mut SearchPage,
    services: &Services,
    caller: &Principal,
    request: &SearchRequest,
) -> Result<(), ApiError> {
    let started = Instant::now();
    let found = services.search.run(caller.tenant, &caller.roles, request).await?;
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    keep(services, caller, None, request, &found, took_ms).await;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let paths = knowledge::category_paths(&mut tx).await?;
    page.total = found.total;
    page.degraded = found.degraded.contains(&Arm::Semantic);
    page.did_you_mean = found
        .did_you_mean
        .as_ref()
        .map(|text| Correction { url: format!("/search/?{}", forms::encoded(&[("q", text)])), text: text.clone() });
    page.results = found
        .hits
        .iter()
        .map(|hit| SearchHit {
            title: hit.title.clone(),
            url: address(hit),
            breadcrumb: names(hit.category_id, &paths),
            snippet_html: hit.snippet.clone(),
            difficulty: hit.difficulty.clone(),
        })
        .collect();
    Ok(())
}

/// Of the part of the article that was found.
fn address(hit: &searching::Hit) -> String {
    let anchor = hit.anchor.as_ref().map(|anchor| format!("#{anchor}")).unwrap_or_default();
    format!("{}{anchor}", article_url(&hit.slug))
}

/// An article.
pub(crate) async fn article(
    request: HttpRequest,
    services: Data<Services>,
    slug: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let (visit, caller) = match Visit::reader(&request).await? {
        Ok(visiting) => visiting,
        Err(sign_in) => return Ok(sign_in),
    };
    let mut tx = services.database.tenant(caller.tenant).await?;
    let Some(article) = knowledge::article(&mut tx, &caller.roles, &slug).await? else {
        let slug = knowledge::moved_to(&mut tx, &caller.roles, &slug).await?.ok_or_else(|| {
            ApiError::not_found(
                "There is no such article, or you may not see it. A search may find what you are looking for.",
            )
        })?;
        return Ok(moved(&article_url(&in_address(&slug))));
    };
    let targets = knowledge::link_targets(&mut tx, &caller.roles, article.summary.id).await?;
    let paths = knowledge::category_paths(&mut tx).await?;
    let related = services.search.related(&mut tx, &caller.roles, &article).await?;
    if viewing::is_reading(&request) {
        let visitor = ReaderKey::of(&caller, Some(visit.csrf.nonce()), services.authenticator.pepper());
        keep_view(tx, article.summary.id, visitor).await;
    }
    let rendered = markdown::render(&article.content, &|destination| link_target(&targets, destination));
    let text = markdown::plain_text(&article.content);
    let words = text.split_whitespace().count();
    let summary = article.summary;
    let page = ArticlePage {
        layout: Layout {
            canonical_url: Some(format!("{}{}", services.config.public_url, article_url(&summary.slug))),
            ..visit.layout(&summary.title)
        },
        title: summary.title,
        has_lead: !begins_with(&text, &summary.summary),
        summary: summary.summary,
        breadcrumb: crumbs(summary.category_id, &paths),
        html: rendered.html,
        headings: rendered
            .headings
            .into_iter()
            .map(|h| TocEntry { text: h.text, anchor: h.anchor, level: h.level })
            .collect(),
        difficulty: summary.difficulty,
        reading_minutes: u32::try_from(words.div_ceil(WORDS_PER_MINUTE)).unwrap_or(u32::MAX).max(1),
        updated: Some(summary.updated_at.format("%-d %B %Y").to_string()),
        updated_iso: Some(summary.updated_at.to_rfc3339()),
        tags: article.tags,
        related: related.into_iter().map(|article| line(article, &paths)).collect(),
        locale: summary.locale,
    };
    visit.page(StatusCode::OK, &page)
}

/// Whether a text begins with what its summary says; true of an empty one.
fn begins_with(text: &str, summary: &str) -> bool {
    let mut words = text.split_whitespace();
    summary
        .trim_end_matches('…')
        .split_whitespace()
        .all(|word| words.next().is_some_and(|other| other.starts_with(word)))
}

/// Keeps that the article is read. A view that cannot be kept is no reason not to show it.
async fn keep_view(mut tx: TenantTx, article: Uuid, reader: Option<ReaderKey>) {
    let Some(reader) = reader else { return };
    let kept = async {
        knowledge::views::keep(&mut tx, article, &reader).await?;
        tx.commit().await
    };
    if let Err(error) = kept.await {
        tracing::warn!(%error, "article.view_not_kept");
    }
}

/// The stylesheet.
pub(crate) async fn asset(file: Path<String>) -> Result<HttpResponse, ApiError> {
    if *file != *STYLESHEET_NAME {
        return Err(ApiError::not_found("There is no such file."));
    }
    Ok(HttpResponse::Ok()
        .content_type("text/css; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(STYLESHEET))
}

/// An error, for people.
pub(crate) fn error_page(request: &HttpRequest, error: &ApiError, request_id: &str) -> HttpResponse {
    let known = request.extensions().get::<KnownLayout>().map(|known| known.0.clone());
    let layout = known.unwrap_or_else(|| Layout { stylesheet_url: stylesheet_url(), ..Layout::default() });
    let page = ErrorPage {
        layout: Layout { title: error.code.title().to_owned(), ..layout },
        status: error.code.status().as_u16(),
        heading: error.code.title().to_owned(),
        explanation: error.detail.clone(),
        request_id: request_id.to_owned(),
    };
    let mut response = HttpResponse::build(error.code.status());
    if error.code == Code::ServiceUnavailable {
        response.insert_header((header::RETRY_AFTER, "5"));
    }
    if let Some(allow) = &error.allow {
        response.insert_header((header::ALLOW, allow.clone()));
    }
    response.content_type("text/html; charset=utf-8").body(page.render().unwrap_or_else(|_| error.detail.clone()))
}

fn sign_in_page(visit: &Visit, email: String, error: Option<String>, next: String) -> SignInPage {
    SignInPage { layout: visit.layout("Sign in"), email, error, next, required: !visit.tenant.is_public }
}

fn stylesheet_url() -> String {
    format!("/assets/{}", *STYLESHEET_NAME)
}

fn card(node: &CategoryNode) -> CategoryCard {
    CategoryCard {
        name: node.name.clone(),
        url: category_url(&node.slug),
        description: node.description.clone(),
        article_count: node.article_count,
    }
}

fn line(article: ArticleSummary, paths: &CategoryPaths) -> ArticleLine {
    ArticleLine {
        url: article_url(&article.slug),
        title: article.title,
        summary: article.summary,
        breadcrumb: names(article.category_id, paths),
    }
}

fn names(category: Option<Uuid>, paths: &CategoryPaths) -> Vec<String> {
    crumbs(category, paths).into_iter().map(|crumb| crumb.name).collect()
}

fn crumbs(category: Option<Uuid>, paths: &CategoryPaths) -> Vec<Crumb> {
    paths.of(category).iter().map(|c| Crumb { name: c.name.clone(), url: category_url(&c.slug) }).collect()
}

fn capitalised(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
