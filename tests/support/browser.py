"""A page in headless Chromium, with a script that acts as a person would."""

import html
import json
import re
import shutil
import subprocess

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SCRIPT = """<script>
addEventListener("load", () => {
  const all = (what) => [...document.querySelectorAll(what)];
  const by = (id) => document.getElementById(id);
  const fire = (element, kind) => element.dispatchEvent(new Event(kind));
  const said = {};
  ACTS
  const out = document.createElement("pre");
  out.id = "acted";
  out.textContent = JSON.stringify(said);
  document.body.append(out);
});
</script></body>"""


def run(path, *arguments, width=1200):
    """A finished Chromium that has opened a page."""
    return subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu",
            "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--no-first-run", "--enable-logging=stderr",
            f"--user-data-dir={path.parent / 'profile'}",
            f"--window-size={width},900", *arguments, f"file://{path}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip


def acted(path, acts, width=1200):
    """What acts on a page give, and the console's messages.

    Args:
      path: `pathlib.Path` of the page, which is changed.
      acts: JavaScript that writes into `said`; `all(selector)`, `by(id)` and
        `fire(element, kind)` are there.
      width: int, pixels of the window.
    """
    text = path.read_text("utf-8")
    script = SCRIPT.replace("ACTS", acts)
    path.write_text(text.replace("</body>", script), "utf-8")
    done = run(path, "--dump-dom", width=width)
    found = re.search(r'<pre id="acted">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    console = re.findall(r".*CONSOLE.*", done.stderr)
    return json.loads(html.unescape(found[1])), console
