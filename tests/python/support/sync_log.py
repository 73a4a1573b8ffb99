"""What a process syncs and renames, seen from outside the library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Takes the place of libc's fsync and rename, writes down each call that succeeds, in one line.
_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void note(const char* what, const char* path) {
  char line[5000];
  int n = snprintf(line, sizeof line, "%s %s\n", what, path);
  int log = open(getenv("SYNC_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0600);
  if (n < 0 || log < 0 || write(log, line, (size_t)n) != n) abort();
  close(log);
}

static int sync_by(const char* name, int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  typedef int Sync(int);
  int result = ((Sync*)dlsym(RTLD_NEXT, name))(fd);
  if (result == 0 && n > 0) {
    path[n] = 0;
    note("sync", path);
  }
  return result;
}

int fsync(int fd) { return sync_by("fsync", fd); }
int fdatasync(int fd) { return sync_by("fdatasync", fd); }

int rename(const char* from, const char* to) {
  typedef int Rename(const char*, const char*);
  int result = ((Rename*)dlsym(RTLD_NEXT, "rename"))(from, to);
  if (result == 0) note("rename", to);
  return result;
}
"""


def sync_log(program: str, folder: Path) -> list[tuple[str, Path]]:
    """Run a Python program; its ("sync", path) and ("rename", new path) in order."""
    source, library, log = folder / "sync_log.c", folder / "sync_log.so", folder / "sync_log"
    source.write_text(_SOURCE)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "SYNC_LOG": str(log)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    lines = log.read_text().splitlines() if log.exists() else []
    return [(what, Path(path)) for what, _, path in (line.partition(" ") for line in lines)]
