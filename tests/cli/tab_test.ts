/** Presses Tab in real shells, in a terminal made by tmux. */
import { assertEquals, assertIncludes } from "../support/assert.ts";
import { cli, cliCommand, cliEnvironment } from "../support/cli.ts";
import { sh, tempFolder } from "../support/scratch.ts";

/** How often the screen is looked at before the test gives up. */
const MAX_LOOKS = 400;
const LOOK_EVERY_MS = 25;
const PROMPT = "READY>";

/** How each shell starts bare, and learns the completions from a file. */
const SHELLS: Record<string, { start: string; setUp: (file: string) => string }> = {
  bash: {
    start: "bash --norc --noprofile",
    setUp: (file) => `PS1='${PROMPT}'; source ${file}`,
  },
  zsh: {
    start: "zsh -f",
    setUp: (file) =>
      `PS1='${PROMPT}'; autoload -Uz compinit; compinit -D -u; setopt auto_list; source ${file}`,
  },
  "zsh, from its function path": {
    start: "zsh -f",
    // As install.sh puts it there: the first Tab loads the file.
    setUp: (file) =>
      `PS1='${PROMPT}'; mkdir f; cp ${file} f/_op-dbus; fpath=($PWD/f $fpath); ` +
      `autoload -Uz compinit; compinit -D -u; setopt auto_list`,
  },
  fish: {
    start: "fish --no-config",
    setUp: (file) => `function fish_prompt; echo '${PROMPT}'; end; source ${file}`,
  },
};

class Terminal implements AsyncDisposable {
  private constructor(readonly socket: string) {}

  static async open(shell: string, folder: string): Promise<Terminal> {
    const terminal = new Terminal(`${folder}/tmux`);
    const environment = Object.entries({
      ...cliEnvironment(),
      PATH: `${folder}/bin:${Deno.env.get("PATH")}`,
      OPDBUS_ROOT: `${folder}/root`,
      HISTFILE: "/dev/null",
      XDG_CONFIG_HOME: folder,
      XDG_DATA_HOME: folder,
      LC_ALL: "C.UTF-8",
    }).map((pair) => `'${pair.join("=")}'`).join(" ");
    await terminal.tmux(
      ...["-f", "/dev/null", "new-session", "-d", "-x", "150", "-y", "50"],
      `cd '${folder}' && exec env -i TERM=xterm ${environment} ${shell}`,
    );
    return terminal;
  }

  tmux(...args: string[]): Promise<string> {
    return sh("tmux", "-S", this.socket, ...args);
  }

  /** Types text as it is; `Tab` and `Enter` are keys. */
  async type(...keys: string[]): Promise<void> {
    for (const key of keys) {
      const literal = key === "Tab" || key === "Enter" ? ["--"] : ["-l", "--"];
      await this.tmux("send-keys", ...literal, key);
    }
  }

  /** Waits until the screen shows the pattern; fails with the screen. */
  async shows(pattern: RegExp): Promise<string> {
    let screen = "";
    for (let look = 0; look < MAX_LOOKS; look++) {
      screen = await this.tmux("capture-pane", "-p", "-J");
      if (pattern.test(screen)) return screen;
      await new Promise((done) => setTimeout(done, LOOK_EVERY_MS));
    }
    assertIncludes(screen, pattern);
    return screen;
  }

  async [Symbol.asyncDispose]() {
    await this.tmux("kill-server");
  }
}

async function prepare(folder: string): Promise<void> {
  await Deno.mkdir(`${folder}/bin`);
  const program = cliCommand().map((word) => `'${word}'`).join(" ");
  await Deno.writeTextFile(`${folder}/bin/op-dbus`, `#!/bin/sh\nexec ${program} "$@"\n`, {
    mode: 0o755,
  });
  for (const name of ["cache@2025-01-15-10:00", "cache@2025-01-15-11:30"]) {
    await Deno.mkdir(`${folder}/root/@cache-snapshots/${name}`, { recursive: true });
  }
  for (const path of ["@plugin-lxc", "models/tiny", "meta"]) {
    await Deno.mkdir(`${folder}/root/${path}`, { recursive: true });
  }
  const repositories = '{"format":1,"repositories":[{"name":"example"}]}';
  await Deno.writeTextFile(`${folder}/root/meta/repositories.json`, repositories);
  await Deno.writeTextFile(`${folder}/some notes.txt`, "");
}

for (const [name, { start, setUp }] of Object.entries(SHELLS)) {
  Deno.test(`Tab in ${name}: commands, flags, values, names, files`, async () => {
    await using scratch = await tempFolder();
    const folder = scratch.path;
    await prepare(folder);
    const { stdout, code } = await cli(["completions", name.split(",")[0]!]);
    assertEquals(code, 0);
    await Deno.writeTextFile(`${folder}/completions`, stdout);
    await using terminal = await Terminal.open(start, folder);
    await terminal.type(setUp(`${folder}/completions`), "Enter");
    await terminal.shows(new RegExp(`^${PROMPT}`, "m"));

    await terminal.type("clear", "Enter", "op-dbus emb", "Tab");
    await terminal.shows(/op-dbus embed /);
    await terminal.type("--outp", "Tab", "np", "Tab");
    await terminal.shows(/op-dbus embed --output npy /);
    await terminal.type("--file so", "Tab");
    await terminal.shows(/--file (some\\ notes\.txt|'some notes\.txt')/);
    await terminal.type("Enter", "clear", "Enter");

    await terminal.type("op-dbus snapshot delete ca", "Tab");
    await terminal.shows(/delete cache@2025-01-15-1/);
    await terminal.type("1:", "Tab");
    await terminal.shows(/delete cache@2025-01-15-11:30/);
    await terminal.type("Enter", "clear", "Enter");

    await terminal.type("op-dbus snapshot list --target plugin-l", "Tab");
    await terminal.shows(/--target plugin-lxc/);
    await terminal.type("Enter", "clear", "Enter");

    await terminal.type("op-dbus plugin show l", "Tab");
    await terminal.shows(/plugin show lxc/);
    await terminal.type("Enter", "clear", "Enter", "op-dbus model default t", "Tab");
    await terminal.shows(/model default tiny/);
    await terminal.type("Enter", "clear", "Enter", "op-dbus repo remove e", "Tab");
    await terminal.shows(/repo remove example/);
  });
}
