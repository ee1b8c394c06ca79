//! Whose looking at a page is reading.

use actix_web::{
    HttpRequest,
    http::{
        Method,
        header::{self, HeaderMap},
    },
};

/// What programs that fetch pages call themselves, in lower case: search engines, previews of links, monitoring, libraries. No
/// browser that people use has one of these in its name.
const PROGRAMS: &[&str] = &[
    "bot",
    "crawl",
    "spider",
    "slurp",
    "scrap",
    "archive",
    "preview",
    "embed",
    "facebookexternalhit",
    "whatsapp",
    "lighthouse",
    "headless",
    "phantomjs",
    "monitor",
    "uptime",
    "pingdom",
    "check",
    "validator",
    "scanner",
    "curl",
    "wget",
    "httpie",
    "python",
    "java/",
    "go-http",
    "okhttp",
    "axios",
    "node-fetch",
    "undici",
    "guzzle",
    "ruby",
    "perl",
    "libwww",
    "postman",
    "apache-",
];

/// Whether somebody reads the page that is asked for: not a program, nor a browser that fetches it in case it is wanted.
pub(super) fn is_reading(request: &HttpRequest) -> bool {
    *request.method() == Method::GET && is_wanted(request.headers()) && is_browser(request.headers())
}

fn is_wanted(headers: &HeaderMap) -> bool {
    // `Sec-Purpose` (Fetch Standard), and what browsers said before it.
    ["sec-purpose", "purpose", "x-moz", "x-purpose"]
        .iter()
        .filter_map(|name| headers.get(*name)?.to_str().ok())
        .all(|value| !value.contains("prefetch") && !value.contains("preview"))
}

fn is_browser(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    // Cubot makes telephones.
    let agent = agent.to_ascii_lowercase().replace("cubot", "");
    !agent.is_empty() && !PROGRAMS.iter().any(|program| agent.contains(program))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";

    #[test]
    fn people_read_and_programs_do_not() {
        for (agent, reads) in [
            (FIREFOX, true),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
                true,
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
                true,
            ),
            (
                "Mozilla/5.0 (Linux; Android 13; CUBOT KINGKONG) AppleWebKit/537.36 Chrome/142.0.0.0 Mobile Safari/537.36",
                true,
            ),
            ("", false),
            ("curl/8.5.0", false),
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", false),
            ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", false),
            ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2)", false),
            ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", false),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/142.0.0.0 Safari/537.36",
                false,
            ),
            ("python-requests/2.32", false),
        ] {
            let request = TestRequest::get().insert_header((header::USER_AGENT, agent)).to_http_request();
            assert_eq!(is_reading(&request), reads, "{agent}");
        }
    }

    #[test]
    fn fetching_ahead_and_asking_for_the_head_is_not_reading() {
        let from = |request: TestRequest| request.insert_header((header::USER_AGENT, FIREFOX));
        for name in ["sec-purpose", "purpose", "x-moz"] {
            let request = from(TestRequest::get()).insert_header((name, "prefetch;prerender")).to_http_request();
            assert!(!is_reading(&request), "{name}");
        }
        assert!(!is_reading(&from(TestRequest::default().method(Method::HEAD)).to_http_request()));
    }
}
