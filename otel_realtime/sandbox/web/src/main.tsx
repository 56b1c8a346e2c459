/** The page: the list of calls, one call, or the one call of a report file. */

import { render } from "preact";
import "./styles/page.css";
import { Conversation } from "./conversation";
import { Icon } from "./icons";
import { help } from "./keys";
import { List } from "./list";
import { Announcement } from "./parts";
import { ReportSource, ServerSource } from "./source";
import { nextTheme, theme } from "./theme";

function Page() {
  const report = document.getElementById("report");
  const route = /^\/conversations\/([^/]+)/.exec(location.pathname);
  const id = route?.[1] ? decodeURIComponent(route[1]) : null;
  const source = report ? new ReportSource(JSON.parse(report.textContent ?? "")) : id !== null ? new ServerSource(id) : null;
  return (
    <>
      <a class="skip" href="#main">To the content</a>
      <header>
        {report ? <span class="home"><Mark /> otel-realtime <span>report</span></span> : <a class="home" href="/"><Mark /> otel-realtime <span>calls</span></a>}
        <span class="spring" />
        {source && <button type="button" class="button ghost" title="Keyboard (?)" aria-label="Keyboard" onClick={() => (help.value = true)}><Icon name="keys" /></button>}
        <Theme />
      </header>
      {source ? <Conversation source={source} id={id ?? ""} /> : <List />}
      <Announcement />
    </>
  );
}

const Mark = () => (
  <svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="7" /><path d="M6 16h3M11 10v12M16 6v20M21 11v10M26 14v4" /></svg>
);

const Theme = () => (
  <button type="button" class="button ghost" title="Light or dark" aria-label="Light or dark" onClick={nextTheme}>
    <Icon name={theme.value === "auto" ? "auto" : theme.value === "dark" ? "moon" : "sun"} />
  </button>
);

render(<Page />, document.getElementById("page")!);
