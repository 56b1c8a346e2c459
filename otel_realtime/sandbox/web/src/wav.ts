/** A part of a compressed recording as a WAV file of its own. */

export async function clip(recording: Blob, from: number, to: number): Promise<Blob> {
  const context = new OfflineAudioContext(2, 1, 48_000);
  const decoded = await context.decodeAudioData(await recording.arrayBuffer());
  const frame = (ms: number): number => Math.max(0, Math.min(decoded.length, Math.round((ms / 1000) * decoded.sampleRate)));
  const start = frame(from);
  const frames = Math.max(0, frame(to) - start);
  const channels = decoded.numberOfChannels;
  const size = frames * channels * 2;
  const view = new DataView(new ArrayBuffer(44 + size));
  const text = (at: number, value: string): void => [...value].forEach((char, n) => view.setUint8(at + n, char.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, channels, true);
  view.setUint32(24, decoded.sampleRate, true);
  view.setUint32(28, decoded.sampleRate * channels * 2, true);
  view.setUint16(32, channels * 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, size, true);
  for (let channel = 0; channel < channels; channel++) {
    const samples = decoded.getChannelData(channel);
    for (let n = 0; n < frames; n++) {
      const value = Math.max(-1, Math.min(1, samples[start + n] ?? 0));
      view.setInt16(44 + (n * channels + channel) * 2, Math.round(value * 32767), true);
    }
  }
  return new Blob([view.buffer], { type: "audio/wav" });
}
