// Walks through a live help center as a signed-in reader and checks every page it meets: accessibility (axe), layout,
// markup, titles, labels, the keyboard and the browser's console, on a phone and a desktop, light and dark.
//
// HELPCENTER_URL, HELPCENTER_DEMO_EMAIL and HELPCENTER_DEMO_PASSWORD say where and as whom; SCREENSHOT_DIR, when set, gets
// a picture of each page; CHROMIUM_PATH is the browser (/usr/bin/chromium).

import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { AxeBuilder } from '@axe-core/playwright';
import { HtmlValidate } from 'html-validate';
import { chromium } from 'playwright-core';

const CHROMIUM = process.env.CHROMIUM_PATH || '/usr/bin/chromium';
const SCREENSHOTS = process.env.SCREENSHOT_DIR;
const WCAG_2_2_AA = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
const VIEWPORTS = [{ width: 320, height: 640 }, { width: 1280, height: 800 }];
const SCHEMES = ['light', 'dark'];
const PRESSABLE_PIXELS = 48;

const MARKUP_RULES = {
  'long-title': 'off', // authors write the titles
  'require-sri': 'off', // the stylesheet comes from the page's own origin
};
// An article's text is its author's, and the formatter's: it may be of any age, but it is sanitised.
const ARTICLE_MARKUP_RULES = {
  ...MARKUP_RULES,
  'attr-quotes': 'off', // see `ArticlePage::body`
  'attribute-boolean-style': 'off',
  'heading-level': 'off',
  'no-deprecated-attr': 'off', // cells are aligned by `align`, because the page's policy forbids styles
  'no-trailing-whitespace': 'off',
};
const [markup, articleMarkup] = [MARKUP_RULES, ARTICLE_MARKUP_RULES].map(
  (rules) => new HtmlValidate({ extends: ['html-validate:recommended'], rules }),
);

if (existsSync(CHROMIUM)) {
  walkAndCheck();
} else {
  const line = '!'.repeat(78);
  console.error(`${line}\n!! Browser tests were SKIPPED: there is no browser at ${CHROMIUM}.`);
  console.error(`!! Install Chromium or set CHROMIUM_PATH.\n${line}`);
  test('browser tests', { skip: `no browser at ${CHROMIUM}` }, () => {});
}

function walkAndCheck() {
  const site = new URL(required('HELPCENTER_URL'));
  const email = required('HELPCENTER_DEMO_EMAIL');
  const password = required('HELPCENTER_DEMO_PASSWORD');
  let browser;

  before(async () => {
    browser = await chromium.launch({
      executablePath: CHROMIUM,
      headless: true,
      args: [
        '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking',
        '--disable-component-update', '--disable-sync', '--no-first-run',
      ],
    });
  });

  after(() => browser?.close());

  test('a reader walks through the help center, and every page holds up', async (t) => {
    const { pages, session } = await walk(browser, site, email, password);

    await t.test('every page has a title of its own', () => {
      const titles = pages.map(({ title }) => title);
      assert.deepEqual(titles.filter((title, index) => titles.indexOf(title) !== index), []);
    });

    for (const { name, source } of pages) {
      await t.test(`${name}: valid markup`, async () => {
        const validator = name === 'article' ? articleMarkup : markup;
        const report = await validator.validateString(source);
        const messages = report.results.flatMap((result) => result.messages);
        assert.deepEqual(messages.map(({ ruleId, message, line }) => `${line}: ${message} (${ruleId})`), []);
      });
    }

    for (const viewport of VIEWPORTS) {
      for (const colorScheme of SCHEMES) {
        for (const { name, url, status, isSignedIn } of pages) {
          await t.test(`${name} at ${viewport.width}x${viewport.height}, ${colorScheme}`, async () => {
            const context = await browser.newContext({
              viewport,
              colorScheme,
              storageState: isSignedIn ? session : undefined,
            });
            try {
              await check(await context.newPage(), { name, url, status, colorScheme, width: viewport.width });
            } finally {
              await context.close();
            }
          });
        }
      }
    }
  });
}

/** Uses the help center as a reader would, and remembers each page on the way as the server sent it. */
async function walk(browser, site, email, password) {
  const context = await browser.newContext({ viewport: VIEWPORTS[1] });
  const page = await context.newPage();
  const pages = [];
  const remember = async (name, response, isSignedIn = true) => {
    assert.ok(response, `${name}: no response`);
    pages.push({
      name,
      isSignedIn,
      url: page.url().replace(/#.*/, ''), // a link into the text would move where the keyboard starts
      status: response.status(),
      source: await response.text(),
      title: await page.title(),
    });
  };
  const visit = async (name, path, isSignedIn) => remember(name, await page.goto(new URL(path, site).href), isSignedIn);
  const click = async (link) => {
    const href = await link.getAttribute('href');
    await Promise.all([page.waitForURL(new URL(href, page.url()).href), link.click()]);
    return page.reload();
  };

  await visit('sign-in', '/sign-in/', false);
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(password);
  await Promise.all([
    page.waitForURL((url) => !url.pathname.startsWith('/sign-in')),
    page.getByRole('main').getByRole('button', { name: 'Sign in' }).click(),
  ]);
  await page.getByRole('button', { name: 'Sign out' }).waitFor();

  await visit('home', '/');
  const words = await page.locator('.lines .line-title').first().innerText();
  await remember('category', await click(page.locator('.cards a').first()));

  const search = page.getByRole('search');
  await search.getByRole('searchbox').fill(words);
  await Promise.all([page.waitForURL(/\/search\/\?q=/), search.getByRole('button').click()]);
  assert.equal(await page.getByRole('searchbox').inputValue(), words);
  await remember('search', await page.reload());
  await remember('article', await click(page.locator('main .lines a').first()));

  await visit('not-found', '/no-such-page-for-tests/');
  assert.equal(pages.at(-1).status, 404);

  const session = await context.storageState();
  await context.close();
  return { pages, session };
}

async function check(page, { name, url, status, colorScheme, width }) {
  const complaints = [];
  page.on('console', (message) => {
    if (message.type() === 'error' && !isOwnStatus(message, url, status)) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));

  const response = await page.goto(url);
  assert.equal(response.status(), status);

  await page.keyboard.press('Tab');
  const isSkipLink = await page.evaluate(() => document.activeElement.matches('a.skip-link[href="#content"]'));
  assert.ok(isSkipLink, 'the first stop of the keyboard is the skip link');
  assert.ok(await page.locator('.skip-link').boundingBox().then((box) => box.y >= 0), 'the skip link shows when it is reached');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'content', 'the skip link leads to the content');
  await page.evaluate(() => document.activeElement.blur());

  // What is folded must hold up as well.
  await page.evaluate(() => document.querySelectorAll('details').forEach((details) => { details.open = true; }));
  const facts = await page.evaluate(readFacts, PRESSABLE_PIXELS);
  assert.deepEqual(complaints, [], 'the console stays silent');
  assert.ok(facts.title.trim(), 'the page has a title');
  assert.match(facts.lang, /^[a-z]{2,3}\b/, 'the page names its language');
  assert.equal(facts.headings, 1, 'the page has one main heading');
  assert.ok(facts.scrollWidth <= width, `the page is ${facts.scrollWidth} pixels wide on a screen of ${width}`);
  assert.deepEqual(facts.unlabelled, [], 'every control has a label');
  assert.deepEqual(facts.small, [], `what is pressed is at least ${PRESSABLE_PIXELS} pixels high`);

  const { violations } = await new AxeBuilder({ page }).withTags(WCAG_2_2_AA).analyze();
  assert.deepEqual(
    violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target}: ${failureSummary}`)),
    [],
  );

  if (SCREENSHOTS) {
    mkdirSync(SCREENSHOTS, { recursive: true });
    await page.screenshot({ path: join(SCREENSHOTS, `${name}-${width}-${colorScheme}.png`), fullPage: true });
  }
}

/** Runs in the page. */
function readFacts(pressablePixels) {
  const isShown = (element) => element.checkVisibility() && element.type !== 'hidden';
  const controls = [...document.querySelectorAll('input, select, textarea, button')].filter(isShown);
  const hasName = (control) => control.getAttribute('aria-label')?.trim()
    || [...(control.labels ?? [])].some((label) => label.textContent.trim())
    || (control.localName === 'button' && control.textContent.trim());
  const pressed = [...document.querySelectorAll('input, select, textarea, button, summary, .button, nav a, header .brand')];
  const describe = (element) => element.outerHTML.slice(0, 120);
  return {
    title: document.title,
    lang: document.documentElement.lang,
    headings: document.querySelectorAll('h1').length,
    scrollWidth: document.scrollingElement.scrollWidth,
    unlabelled: controls.filter((control) => !hasName(control)).map(describe),
    small: pressed
      .filter((element) => isShown(element) && !element.disabled && element.getBoundingClientRect().height < pressablePixels - 0.5)
      .map(describe),
  };
}

/** A browser reports the status of the page itself as an error, too. */
function isOwnStatus(message, url, status) {
  return status >= 400 && message.location().url === url && message.text().includes(`status of ${status}`);
}

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`Set ${name}: these tests need a live help center and an account on it.`);
  return value;
}
