//! What each server-rendered page shows. No database and no HTTP here: handlers fill these, the templates in
//! `api/templates/` turn them into HTML.
//!
//! Every text is escaped by its template. The two fields that are not ([`ArticlePage::html`], [`SearchHit::snippet_html`])
//! say who has to make them safe. Every `url` is put into a link as it is, so it is made by the server, never taken from
//! a request.

use askama::Template;

/// What stands around every page. Not `Debug`, because it carries the session's CSRF token.
#[derive(Clone, Default)]
pub struct Layout {
    /// The help center's name; empty when no tenant could be found, which shows as "Help center".
    pub tenant_name: String,
    /// The page's own part of `<title>`; empty for the tenant's name alone.
    pub title: String,
    /// The name of the person who is signed in.
    pub person: Option<String>,
    /// Goes into every form that changes something.
    pub csrf_token: String,
    /// Where the stylesheet is, with its version, so that it can be cached for good.
    pub stylesheet_url: String,
    /// What stands in the search box.
    pub query: String,
    /// The page's one address, absolute. Pages without one ask search engines not to list them.
    pub canonical_url: Option<String>,
}

impl Layout {
    fn site_name(&self) -> &str {
        if self.tenant_name.is_empty() { "Help center" } else { &self.tenant_name }
    }
}

/// One step of a trail that can be followed.
#[derive(Debug, Clone)]
pub struct Crumb {
    /// A category's name.
    pub name: String,
    /// The category's page.
    pub url: String,
}

/// A category as a link with what is in it.
#[derive(Debug, Clone)]
pub struct CategoryCard {
    /// The category's name.
    pub name: String,
    /// The category's page.
    pub url: String,
    /// Plain text; may be empty.
    pub description: String,
    /// Articles the reader may see, those of descendants included.
    pub article_count: i64,
}

/// An article in a list.
#[derive(Debug, Clone)]
pub struct ArticleLine {
    /// The article's title.
    pub title: String,
    /// The article's page.
    pub url: String,
    /// Plain text; may be empty.
    pub summary: String,
    /// Names of its categories, outermost first; empty where the page has said it already.
    pub breadcrumb: Vec<String>,
}

/// The way into a help center: search, categories, what is new.
#[derive(Template, Clone)]
#[template(path = "home.html")]
pub struct HomePage {
    /// What stands around the page.
    pub layout: Layout,
    /// The top-level categories, in their display order.
    pub categories: Vec<CategoryCard>,
    /// Recently updated, newest first.
    pub articles: Vec<ArticleLine>,
    /// Says that the content is a demonstration.
    pub demo_hint: bool,
}

/// The form for a local account, posted to `/sign-in/`.
#[derive(Template, Clone)]
#[template(path = "sign_in.html")]
pub struct SignInPage {
    /// What stands around the page.
    pub layout: Layout,
    /// What was typed before an error.
    pub email: String,
    /// Why signing in did not work; the same words whether or not the account exists.
    pub error: Option<String>,
    /// The path to return to. It travels through the browser: check it again when it comes back.
    pub next: String,
    /// This help center is private, so signing in comes before reading.
    pub required: bool,
}

/// What a category holds.
#[derive(Template, Clone)]
#[template(path = "category.html")]
pub struct CategoryPage {
    /// What stands around the page.
    pub layout: Layout,
    /// The category's name.
    pub name: String,
    /// Plain text; may be empty.
    pub description: String,
    /// Its ancestors, outermost first, without itself.
    pub breadcrumb: Vec<Crumb>,
    /// Its children, in their display order.
    pub subcategories: Vec<CategoryCard>,
    /// This page's articles.
    pub articles: Vec<ArticleLine>,
    /// Where the list goes on.
    pub next_page_url: Option<String>,
}

/// A result of a search.
#[derive(Debug, Clone)]
pub struct SearchHit {
    /// The article's title.
    pub title: String,
    /// The article's page.
    pub url: String,
    /// Names of its categories, outermost first.
    pub breadcrumb: Vec<String>,
    /// HTML that is put into the page as it is: escaped text with `<mark>` and nothing else, made by the server.
    pub snippet_html: String,
    /// `BEGINNER`, `INTERMEDIATE` or `ADVANCED`; other words show as they are, an empty one not at all.
    pub difficulty: String,
}

impl SearchHit {
    fn difficulty_label(&self) -> &str {
        difficulty_label(&self.difficulty)
    }
}

/// A search and what it found.
#[derive(Template, Clone)]
#[template(path = "search.html")]
pub struct SearchPage {
    /// What stands around the page; its `query` is the search.
    pub layout: Layout,
    /// The best results, best first.
    pub results: Vec<SearchHit>,
    /// How many were found, shown or not.
    pub total: usize,
    /// Search by meaning did not answer, so these results come from the words alone.
    pub degraded: bool,
    /// What was probably meant.
    pub did_you_mean: Option<Correction>,
    /// Why the query could not be used, as a sentence for the reader.
    pub message: Option<String>,
    /// A search was made. Without it the page only offers to search.
    pub searched: bool,
}

/// A query that was probably meant.
#[derive(Debug, Clone)]
pub struct Correction {
    /// The query.
    pub text: String,
    /// Address of the search for it.
    pub url: String,
}

/// A heading of an article, for its contents.
#[derive(Debug, Clone)]
pub struct TocEntry {
    /// Plain text.
    pub text: String,
    /// The id of the heading's element.
    pub anchor: String,
    /// 2 to 6, as in the article's HTML.
    pub level: u8,
}

/// An article.
#[derive(Template, Clone)]
#[template(path = "article.html")]
pub struct ArticlePage {
    /// What stands around the page.
    pub layout: Layout,
    /// The article's title, the page's one `h1`.
    pub title: String,
    /// Plain text; may be empty.
    pub summary: String,
    /// Whether the summary stands above the text, since the text does not begin with it.
    pub has_lead: bool,
    /// Its categories, outermost first.
    pub breadcrumb: Vec<Crumb>,
    /// HTML that is put into the page as it is: the output of `shared::markdown::render`, which sanitises, and nothing
    /// else.
    pub html: String,
    /// All headings in reading order; the page lists the two outermost levels when there are at least two headings.
    pub headings: Vec<TocEntry>,
    /// As in [`SearchHit::difficulty`].
    pub difficulty: String,
    /// Zero hides it.
    pub reading_minutes: u32,
    /// When the text last changed, written for the reader ("3 November 2026").
    pub updated: Option<String>,
    /// The same as RFC 3339 date or time, for machines.
    pub updated_iso: Option<String>,
    /// Names of tags.
    pub tags: Vec<String>,
    /// What to read next.
    pub related: Vec<ArticleLine>,
    /// The language of title, summary and text as a BCP 47 tag; the page around them is English.
    pub locale: String,
}

/// A line of the contents of an article.
struct ContentsLine<'p> {
    heading: &'p TocEntry,
    is_nested: bool,
}

impl ArticlePage {
    fn difficulty_label(&self) -> &str {
        difficulty_label(&self.difficulty)
    }

    fn direction(&self) -> &'static str {
        direction(&self.locale)
    }

    /// The text with each table in a box that scrolls by itself; it and code, which scrolls too, can be reached with the
    /// keyboard.
    ///
    /// What is put in has no quotation mark: wherever `<table` may stand in sanitised HTML, it cannot end an attribute.
    fn body(&self) -> String {
        self.html
            .replace("<pre", "<pre role=group aria-label=Code tabindex=0")
            .replace("<table", "<div class=table-scroll role=group aria-label=Table tabindex=0><table")
            .replace("</table>", "</table></div>")
    }

    /// The headings of the two outermost levels in use, whichever these are: more would hide the overview.
    fn contents(&self) -> Vec<ContentsLine<'_>> {
        if self.headings.len() < 2 {
            return Vec::new();
        }
        let outermost = self.headings.iter().map(|heading| heading.level).min();
        let next = self.headings.iter().map(|heading| heading.level).filter(|level| Some(*level) != outermost).min();
        self.headings
            .iter()
            .filter(|heading| Some(heading.level) == outermost || Some(heading.level) == next)
            .map(|heading| ContentsLine { heading, is_nested: Some(heading.level) != outermost })
            .collect()
    }
}

/// Anything that went wrong, told to a person.
#[derive(Template, Clone)]
#[template(path = "error.html")]
pub struct ErrorPage {
    /// What stands around the page.
    pub layout: Layout,
    /// The HTTP status.
    pub status: u16,
    /// What happened, in a few words.
    pub heading: String,
    /// What it means and what to do, in a sentence or two.
    pub explanation: String,
    /// Finds the request in the logs; empty hides it.
    pub request_id: String,
}

fn difficulty_label(difficulty: &str) -> &str {
    match difficulty {
        "BEGINNER" => "Beginner",
        "INTERMEDIATE" => "Intermediate",
        "ADVANCED" => "Advanced",
        other => other,
    }
}

/// The writing direction of a BCP 47 tag as HTML names it: its script decides, else the usual script of its language.
fn direction(locale: &str) -> &'static str {
    let mut subtags = locale.split(['-', '_']);
    let language = subtags.next().unwrap_or_default().to_ascii_lowercase();
    let script = subtags.find(|subtag| subtag.len() == 4 && subtag.bytes().all(|byte| byte.is_ascii_alphabetic()));
    let is_rtl = match script.map(str::to_ascii_lowercase).as_deref() {
        Some(script) => matches!(script, "adlm" | "arab" | "aran" | "hebr" | "nkoo" | "rohg" | "syrc" | "thaa"),
        None => matches!(
            language.as_str(),
            "ar" | "arc" | "ckb" | "dv" | "fa" | "he" | "iw" | "ks" | "nqo" | "ps" | "sd" | "syr" | "ug" | "ur" | "yi"
        ),
    };
    match (language.is_empty(), is_rtl) {
        (true, _) => "auto",
        (false, true) => "rtl",
        (false, false) => "ltr",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn article(levels: &[u8]) -> ArticlePage {
        let headings =
            levels.iter().map(|level| TocEntry { text: format!("<{level}>"), anchor: "h-a".to_owned(), level: *level });
        ArticlePage {
            layout: Layout::default(),
            title: "A <b>".to_owned(),
            summary: String::new(),
            has_lead: false,
            breadcrumb: Vec::new(),
            html: "<p>Text</p>".to_owned(),
            headings: headings.collect(),
            difficulty: "BEGINNER".to_owned(),
            reading_minutes: 1,
            updated: None,
            updated_iso: None,
            tags: Vec::new(),
            related: Vec::new(),
            locale: "en".to_owned(),
        }
    }

    #[test]
    fn contents_list_the_two_outermost_levels() {
        let nested = |levels| article(levels).contents().iter().map(|line| line.is_nested).collect::<Vec<_>>();
        assert_eq!(nested(&[2, 3, 4, 2]), [false, true, false]);
        assert_eq!(nested(&[4, 3, 6, 5]), [true, false]);
        assert_eq!(nested(&[3, 3]), [false, false]);
        assert!(nested(&[2]).is_empty());
    }

    #[test]
    fn text_is_escaped_and_rendered_markdown_is_not() {
        let html = article(&[2, 2]).render().expect("the page renders");
        assert!(html.contains("A &#60;b&#62;") && html.contains("&#60;2&#62;"), "{html}");
        assert!(html.contains("<p>Text</p>"), "{html}");
        assert!(!html.contains("<b>"), "{html}");
    }

    #[test]
    fn text_runs_the_way_of_its_language() {
        for (locale, expected) in
            [("ar", "rtl"), ("he-IL", "rtl"), ("uz-Arab-AF", "rtl"), ("ks-Deva", "ltr"), ("en-GB", "ltr"), ("", "auto")]
        {
            assert_eq!(direction(locale), expected, "{locale}");
        }
    }

    #[test]
    fn tables_and_code_scroll_by_themselves() {
        let page = ArticlePage { html: "<pre><code>x</code></pre>".to_owned(), ..article(&[]) };
        assert_eq!(page.body(), "<pre role=group aria-label=Code tabindex=0><code>x</code></pre>");
        let page = ArticlePage { html: "<table title=\"<table>\"><tr></tr></table>".to_owned(), ..article(&[]) };
        let open = "<div class=table-scroll role=group aria-label=Table tabindex=0><table";
        assert_eq!(page.body(), format!("{open} title=\"{open}>\"><tr></tr></table></div>"));
    }

    #[test]
    fn a_snippet_keeps_its_marks_and_the_query_is_escaped() {
        let html = SearchPage {
            layout: Layout { query: "\"><script>".to_owned(), ..Layout::default() },
            results: vec![SearchHit {
                title: "T".to_owned(),
                url: "/a/".to_owned(),
                breadcrumb: vec!["<i>".to_owned()],
                snippet_html: "a <mark>b</mark>".to_owned(),
                difficulty: "ADVANCED".to_owned(),
            }],
            total: 1,
            degraded: false,
            did_you_mean: None,
            message: None,
            searched: true,
        }
        .render()
        .expect("the page renders");
        assert!(html.contains("a <mark>b</mark>") && html.contains("Advanced"), "{html}");
        assert!(!html.contains("<script") && !html.contains("<i>"), "{html}");
    }
}
