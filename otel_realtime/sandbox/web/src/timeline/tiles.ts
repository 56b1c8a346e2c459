/** Peaks by level and tile: only those on the screen are loaded, and then kept. */

import { signal } from "@preact/signals";
import { PEAK_LEVELS, type Source } from "../source";

const TILE = 8192; // buckets
/** Increases with every tile that arrives, so that the waveform is redrawn. */
export const arrived = signal(0);

export class Tiles {
  private readonly tiles = new Map<string, Uint8Array | null>();

  constructor(private readonly source: Source) {}

  /** The level whose buckets are just finer than one bar. */
  static level(msPerBar: number): number {
    let level = 0;
    while (level + 1 < PEAK_LEVELS.length && PEAK_LEVELS[level + 1]! <= msPerBar) level++;
    return level;
  }

  /** The loudest of a stretch, 0..255, or null while it is being loaded. */
  loudest(channel: 0 | 1, from: number, to: number, level: number): number | null {
    const bucket = PEAK_LEVELS[level]!;
    const first = Math.max(0, Math.floor(from / bucket));
    const last = Math.max(first, Math.ceil(to / bucket) - 1);
    let loudest: number | null = null;
    for (let n = first; n <= last; n++) {
      const tile = this.tile(level, Math.floor(n / TILE));
      if (tile) loudest = Math.max(loudest ?? 0, tile[2 * (n % TILE) + channel] ?? 0);
    }
    return loudest;
  }

  private tile(level: number, index: number): Uint8Array | null {
    const key = `${level}/${index}`;
    const found = this.tiles.get(key);
    if (found !== undefined) return found;
    this.tiles.set(key, null);
    void this.source.peaks(level, index * TILE, TILE).then((peaks) => {
      this.tiles.set(key, peaks);
      arrived.value++;
    }, () => this.tiles.delete(key));
    return null;
  }
}
