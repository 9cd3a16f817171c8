// A real browser at the pages of a login: headless Chromium, driven by playwright-core (npm), which somebody who fills in
// fields and clicks on what goes on stands for.
//
// node browser.mjs JSON, from the folder whose `node_modules` has playwright-core:
//   link, program, answers (what to type, by the names of fields), pictures (a folder, if there are to be any), press (how
//   the button begins that is to be preferred)
// prints JSON: the last page's `text` and `url`, `path` (the origins and paths of all), `errors` (of scripts and policies,
// each after the origin of its page). Nothing is fetched from elsewhere than this machine.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const { link, program, answers, pictures, press } = JSON.parse(process.argv.at(-1));
const entry = createRequire(pathToFileURL(join(process.cwd(), 'x.js'))).resolve('playwright-core');
const { chromium } = (await import(pathToFileURL(entry))).default;

const ON = ['button[value=approve]', 'button[type=submit]', 'button:not([type])', 'input[type=submit]', 'a.button'];
const browser = await chromium.launch({ executablePath: program, args: ['--no-sandbox'] });
const page = await browser.newPage({ viewport: { width: 760, height: 520 }, deviceScaleFactor: 1 });
page.setDefaultTimeout(60_000);
const errors = [];
const path = [];
const note = (error) => errors.push(`${new URL(page.url()).origin} ${error}`);
page.on('pageerror', note);
page.on('console', (said) => said.type() === 'error' && note(said.text()));
await page.route(({ hostname }) => !['127.0.0.1', 'localhost'].includes(hostname), (route) => route.abort());
page.on('framenavigated', () => {
  const { origin, pathname } = new URL(page.url());
  if (path.at(-1) !== origin + pathname) path.push(origin + pathname);
});

let steps = 0;
const goOn = async () => {
  for (const [name, value] of Object.entries(answers)) {
    const field = page.locator(`input[name="${name}"]:visible`);
    if (await field.count()) await field.fill(value);
  }
  const preferred = page.locator('button:visible', { hasText: press }).first();
  if (press && (await preferred.count())) {
    await preferred.click();
    return true;
  }
  for (const each of ON) {
    const button = page.locator(`${each}:visible`).first();
    if (await button.count()) {
      await button.click();
      return true;
    }
  }
  return false;
};

await page.goto(link);
while (steps < 20) {
  await page.waitForLoadState('load');
  const before = page.url();
  if (pictures) await page.screenshot({ path: join(pictures, `${steps}.png`) });
  try {
    if (!(await goOn())) break;
    // What was clicked leads elsewhere, or to the same address with another page.
    await page.waitForEvent('load', { timeout: 10_000 }).catch(() => {});
  } catch (error) {
    if (page.url() === before) throw error; // or else it has gone on by itself
  }
  steps += 1;
}
const text = await page.locator('body').innerText();
console.log(JSON.stringify({ text, url: page.url(), path, errors }));
await browser.close();
