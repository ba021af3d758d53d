// Only the newest of many wishes, such as those of a slider that moves: one request is in flight, and while it is, only
// the last wish waits.
import { showError } from "./errors.js";

export class Latest {
  // `work(wish)` is a promise of what `done(result, wish)` gets. `working(is)` tells when it starts and ends.
  constructor(work, done, working = () => {}) {
    Object.assign(this, { work, done, working, waiting: null, running: null });
  }

  ask(wish) {
    this.waiting = { wish };
    return (this.running ??= this.run());
  }

  async run() {
    this.working(true);
    try {
      while (this.waiting) {
        const { wish } = this.waiting;
        this.waiting = null;
        try {
          this.done(await this.work(wish), wish);
        } catch (error) {
          this.waiting = null;
          showError(error);
        }
      }
    } finally {
      this.running = null;
      this.working(false);
    }
  }
}
