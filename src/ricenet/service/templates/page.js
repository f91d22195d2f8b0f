"use strict";
(() => {
  const POLL_MS = 700;
  const at = (id) => document.getElementById(id);
  // in memory only: gone with the page
  let token = "";
  let caseId = "";

  const element = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const svg = (name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const ask = async (path, options = {}) => {
    let answer;
    try {
      answer = await fetch(path, { ...options, headers: { Authorization: `Bearer ${token}` }, redirect: "error" });
    } catch {
      throw new Error("the service does not answer; is it still running?");
    }
    const content = await answer.json().catch(() => ({}));
    if (answer.ok) return content;
    const error = new Error(content.detail || `status ${answer.status}`);
    error.problems = content.problems || [error.message];
    error.retry = answer.status === 429 ? Number(answer.headers.get("Retry-After")) || 30 : 0;
    throw error;
  };
  const duration = (s) => (s < 90 ? `${Math.max(1, Math.round(s))} s` : `${Math.round(s / 60)} min`);
  const share = (p) => (p === null ? "not known" : p.toFixed(4));

  const list = (id, texts) => at(id).replaceChildren(...texts.map((text) => element("li", text)));
  const terms = (id, pairs) =>
    at(id).replaceChildren(...pairs.flatMap(([term, text]) => [element("dt", term), element("dd", text)]));
  const show = (id, shown = true) => { at(id).hidden = !shown; };

  const field = (label, control, further) => {
    const box = element("div", undefined, { class: "field" });
    const named = element("label", label, { for: control.id });
    if (further) named.append(" ", element("span", further));
    box.append(named, control);
    return box;
  };
  const showModel = (model) => {
    at("model").textContent =
      `Model ${model.model}, version ${model.version}. At most ${model.upload_mb} MB a case; ` +
      `the files are removed once the case is predicted, all the rest ${duration(model.kept_seconds)} later.`;
    at("volumes").replaceChildren(...model.volumes.map((volume) => {
      const control = element("input", undefined, { type: "file", id: `volume-${volume.name}`, name: volume.name, accept: ".gz,.nii,.zip" });
      control.required = volume.needed;
      return field(volume.title, control, volume.needed ? "" : "(optional)");
    }));
    show("dose", model.volumes.some((volume) => volume.kind === "dose"));
    at("variables").replaceChildren(...model.variables.map((variable) => {
      const name = `variable.${variable.name}`;
      if (variable.levels === null) {
        return field(variable.name, element("input", undefined, { type: "number", step: "any", id: name, name }), variable.unit || "");
      }
      const control = element("select", undefined, { id: name, name });
      control.append(element("option", "not known", { value: "" }), ...variable.levels.map((level) => element("option", level, { value: level })));
      return field(variable.name, control);
    }));
    show("variables-box", model.variables.length > 0);
  };

  const showVotes = (prediction) => {
    const x = (p) => 10 + 300 * p;
    at("votes").replaceChildren(
      svg("title", { id: "votes-title" }, `p_rice of each fold: ${prediction.p_rice_folds.join(", ")}`),
      svg("line", { x1: x(0), x2: x(1), y1: 20, y2: 20 }),
      svg("line", { x1: x(0.5), x2: x(0.5), y1: 8, y2: 32, class: "middle" }),
      ...prediction.p_rice_folds.map((p) => svg("circle", { cx: x(p), cy: 20, r: 6 })),
      svg("text", { x: x(0), y: 48 }, "0, recurrence"),
      svg("text", { x: x(0.5), y: 48, "text-anchor": "middle" }, "p_rice of the folds"),
      svg("text", { x: x(1), y: 48, "text-anchor": "end" }, "1, rice"),
    );
  };
  const labelSet = (prediction) => {
    if (prediction.label_set === null) return `not known: ${prediction.label_set_why}`;
    const held = prediction.label_set.join(" or ") || "none: like neither label";
    return `${held} (holds the true label of ${Math.round(100 * prediction.label_set_coverage)} % of each label's patients)`;
  };
  const showAnswer = (answer) => {
    const prediction = answer.prediction;
    const sure = !["indeterminate", "n/a"].includes(prediction.three_way);
    at("verdict").textContent = sure ? prediction.three_way : prediction.three_way === "n/a" ? `${prediction.label}, without calibration` : "indeterminate";
    at("why").textContent = `${prediction.three_way_why}.`;
    terms("numbers", [
      ["majority of the folds", prediction.label],
      ["votes for rice", `${prediction.votes_rice} of ${prediction.folds}`],
      ["p_rice, calibrated", share(prediction.p_rice_calibrated)],
      ["p_rice, raw", share(prediction.p_rice)],
      ["set of labels", labelSet(prediction)],
      ["networks saw", prediction.used.join(", ")],
    ]);
    showVotes(prediction);
    list("warnings", prediction.warnings);
    show("warnings-box", prediction.warnings.length > 0);
    terms("origin", [["model", prediction.model], ["version", prediction.version], ["digest", prediction.digest]]);
    at("kept").textContent = `${prediction.notice} This answer is removed ${duration(answer.seconds_kept ?? 0)} after it was made.`;
    at("explain").disabled = false;
    at("explained").textContent = "";
    show("answer");
    at("answer-title").focus();
  };
  const showProblems = (problems) => {
    list("problems", problems);
    show("problems-box", problems.length > 0);
  };
  const showProgress = (answer) => {
    const bar = at("progress");
    if (answer.share_done === null) bar.removeAttribute("value"); else bar.value = answer.share_done;
    const left = answer.seconds_left === null ? "" : `, about ${duration(answer.seconds_left)} left`;
    const ahead = answer.ahead ? `waiting: ${answer.ahead} before it` : "waiting";
    const text = answer.state === "queued" ? ahead : `${answer.step || "starting"}${left}`;
    // read aloud when the step changes, not each second
    if (at("progress-text").textContent !== text) at("progress-text").textContent = text;
  };

  const formData = () => {
    const data = new FormData();
    for (const control of at("case").elements) {
      if (control.type === "file") {
        // a name of our own: that of the file may be a patient's
        if (control.files[0]) data.append(control.name, control.files[0], control.name);
      } else if (control.name && control.value !== "") data.append(control.name, control.value);
    }
    return data;
  };
  const followed = async (path, ended) => {
    for (;;) {
      const answer = await ask(path);
      if (ended(answer)) return answer;
      showProgress(answer);
      await wait(POLL_MS);
    }
  };

  at("sign-in").addEventListener("submit", async (event) => {
    event.preventDefault();
    token = at("token").value;
    try {
      showModel(await ask("model"));
      at("token").value = "";
      show("sign-in", false);
      show("service");
      at("case").elements[0].focus();
    } catch (error) {
      token = "";
      at("sign-in-problem").textContent = error.message;
      show("sign-in-problem");
    }
  });

  at("case").addEventListener("submit", async (event) => {
    event.preventDefault();
    at("send").disabled = true;
    show("answer", false);
    showProblems([]);
    show("progress-box");
    at("progress").removeAttribute("value");
    at("progress-text").textContent = "sending";
    at("progress-title").focus();
    try {
      caseId = (await ask("cases", { method: "POST", body: formData() })).id;
      const answer = await followed(`cases/${caseId}`, (now) => ["done", "refused", "failed"].includes(now.state));
      if (answer.state === "done") showAnswer(answer);
      else showProblems(answer.problems.length ? answer.problems : [`${answer.error}.`]);
    } catch (error) {
      showProblems(error.retry ? [`${error.message} (in about ${duration(error.retry)}).`] : error.problems || [error.message]);
    }
    show("progress-box", false);
    at("send").disabled = false;
  });

  at("explain").addEventListener("click", async () => {
    const path = `cases/${caseId}`;
    const said = at("explained");
    at("explain").disabled = true;
    said.textContent = "waiting";
    try {
      await ask(`${path}/explanation`, { method: "POST" });
      for (;;) {
        const answer = await ask(path);
        if (answer.explanation === "failed") throw new Error(answer.explanation_error || "failed");
        if (answer.explanation === "done") break;
        const part = answer.share_done ? `${Math.round(100 * answer.share_done)} %` : "waiting";
        said.textContent = answer.seconds_left ? `${part}, about ${duration(answer.seconds_left)} left` : part;
        await wait(POLL_MS);
      }
      said.replaceChildren(element("a", "Open the occlusion map", { href: `${path}/explanation`, target: "_blank", rel: "noopener" }));
      said.firstChild.focus();
    } catch (error) {
      said.textContent = error.message;
      at("explain").disabled = false;
    }
  });
})();
