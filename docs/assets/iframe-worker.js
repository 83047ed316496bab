/* The search runs in a worker, and browsers start none from a file. So where the page is a file, a hidden frame
   takes the worker's place: it loads the same script, and messages are handed over as events. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.title = "search";
      document.body.append(frame);
      const inner = (this.inner = frame.contentWindow);
      const load = (source) =>
        new Promise((loaded, failed) => {
          const script = inner.document.createElement("script");
          Object.assign(script, { src: source, async: false, onload: loaded, onerror: failed });
          inner.document.head.append(script);
        });
      inner.importScripts = (...sources) => Promise.all(sources.map(load));
      inner.postMessage = (data) => {
        const message = new MessageEvent("message", { data });
        this.dispatchEvent(message);
        this.onmessage?.(message);
      };
      this.ready = load(new URL(address, document.baseURI).href);
      this.ready.catch((error) => this.dispatchEvent(new ErrorEvent("error", { error })));
    }
    postMessage(data) {
      this.ready.then(() => this.inner.dispatchEvent(new MessageEvent("message", { data })));
    }
    terminate() {
      this.inner.frameElement.remove();
    }
  };
}
