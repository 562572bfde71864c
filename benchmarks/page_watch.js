// Put into the page by benchmarks/page.py before its own scripts: notes frames, long tasks and shifts of the layout.
(() => {
  const kept = { frames: [], tasks: [], shift: 0 };
  let isWatching = false;
  let last = 0;
  const tick = (at) => {
    if (isWatching && last > 0) kept.frames.push(at - last);
    last = at;
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
  new PerformanceObserver((list) => {
    if (isWatching) kept.tasks.push(...list.getEntries().map((entry) => entry.duration));
  }).observe({ type: "longtask" });
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (isWatching && !entry.hadRecentInput) kept.shift += entry.value;
  }).observe({ type: "layout-shift" });

  /** ms since the navigation began, once a message with that text is in sight. */
  const inSight = (text) =>
    new Promise((resolve) => {
      const look = () => {
        const log = document.querySelector("[role=log]")?.getBoundingClientRect();
        const message = [...document.querySelectorAll("[role=log] article")].findLast((one) => one.textContent.includes(text));
        const place = message?.getBoundingClientRect();
        if (place && place.height > 0 && place.bottom <= log.bottom && place.top >= log.top) resolve(performance.now());
        else requestAnimationFrame(look);
      };
      look();
    });

  window.benchmark = {
    inSight,
    begin() {
      Object.assign(kept, { frames: [], tasks: [], shift: 0 });
      last = 0;
      isWatching = true;
    },
    end() {
      isWatching = false;
      return kept;
    },
  };
})();
