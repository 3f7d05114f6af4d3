package org.apache.beam.runners.fnexecution.control;

import java.util.Collections;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.BundleApplication;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.DelayedBundleApplication;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.ProcessBundleResponse;
import org.apache.beam.runners.core.StateInternalsFactory;
import org.apache.beam.runners.core.StateNamespace;
import org.apache.beam.runners.core.StateNamespaces;
import org.apache.beam.runners.core.StateTags;
import org.apache.beam.runners.core.TimerInternalsFactory;
import org.apache.beam.sdk.coders.Coder;
import org.apache.beam.sdk.coders.CoderException;
import org.apache.beam.sdk.state.TimeDomain;
import org.apache.beam.sdk.transforms.windowing.BoundedWindow;
import org.apache.beam.sdk.util.CoderUtils;
import org.apache.beam.sdk.util.WindowedValue;
import org.joda.time.Instant;

/**
 * In place of Beam's class of this name, whose every residual has a cell of state of its own.
 *
 * <p>A source that reads without end leaves a residual a bundle: what is still to be read. Beam (up to 2.76, issue
 * 27648) keeps each in a cell with a new name, which Flink never forgets: state and checkpoints grow for ever, by some
 * kilobytes a bundle on the disk and far more in Java's heap. Here names are taken again in a circle. A residual is read
 * when its timer fires, at once or after the delay that the source asked for, so it is long read when its name comes
 * round again.
 */
public final class BundleCheckpointHandlers {
  private BundleCheckpointHandlers() {}

  /** Keeps residuals in state and has them taken up by timers. */
  public static class StateAndTimerBundleCheckpointHandler<T> implements BundleCheckpointHandler {
    public static final String SDF_PREFIX = "sdf_checkpoint";

    /** Bundles between two uses of a name: many more than residuals wait at one time, one for each split of a source. */
    private static final int NAMES = 64;

    private final TimerInternalsFactory<T> timers;
    private final StateInternalsFactory<T> states;
    private final Coder<WindowedValue<T>> residualCoder;

    @SuppressWarnings("rawtypes")
    private final Coder windowCoder;

    private int bundles;

    @SuppressWarnings("rawtypes")
    public StateAndTimerBundleCheckpointHandler(
        TimerInternalsFactory<T> timers,
        StateInternalsFactory<T> states,
        Coder<WindowedValue<T>> residualCoder,
        Coder windowCoder) {
      this.timers = timers;
      this.states = states;
      this.residualCoder = residualCoder;
      this.windowCoder = windowCoder;
    }

    /** Whether a timer is one of those that are set here. */
    public static boolean isSdfTimer(String timerId) {
      return timerId.startsWith(SDF_PREFIX);
    }

    @Override
    public void onCheckpoint(ProcessBundleResponse response) {
      bundles = (bundles + 1) % NAMES;
      int index = 0;
      for (DelayedBundleApplication residual : response.getResidualRootsList()) {
        if (residual.hasApplication()) {
          keep(residual, String.join(":", SDF_PREFIX, "" + bundles, "" + index));
        }
        index++;
      }
    }

    @SuppressWarnings("unchecked")
    private void keep(DelayedBundleApplication residual, String name) {
      WindowedValue<T> rest;
      try {
        rest = CoderUtils.decodeFromByteArray(residualCoder, residual.getApplication().getElement().toByteArray());
      } catch (CoderException error) {
        throw new IllegalStateException("a residual cannot be decoded", error);
      }
      Instant due = Instant.now();
      if (residual.hasRequestedTimeDelay()) {
        due = due.plus(millis(residual.getRequestedTimeDelay().getSeconds(), residual.getRequestedTimeDelay().getNanos()));
      }
      Instant hold = new Instant(holdOf(residual.getApplication()));
      for (BoundedWindow window : rest.getWindows()) {
        StateNamespace namespace = StateNamespaces.window(windowCoder, window);
        WindowedValue<T> one =
            WindowedValue.of(rest.getValue(), rest.getTimestamp(), Collections.singletonList(window), rest.getPane());
        // the residual before its timer, which another thread may serve as soon as it is set
        states.stateInternalsForKey(rest.getValue()).state(namespace, StateTags.value(name, residualCoder)).write(one);
        timers
            .timerInternalsForKey(rest.getValue())
            .setTimer(namespace, name, "", due, hold, TimeDomain.PROCESSING_TIME);
      }
    }

    /**
     * Where the watermark waits: the least of the outputs', or at the beginning of time when none is said. In whole
     * seconds, as Beam has it: each step of the watermark wakes every shard, and ten a second cost more than the events.
     */
    private static long holdOf(BundleApplication application) {
      return application.getOutputWatermarksMap().values().stream()
          .mapToLong(watermark -> millis(watermark.getSeconds(), 0))
          .map(at -> Math.min(at, BoundedWindow.TIMESTAMP_MAX_VALUE.getMillis()))
          .min()
          .orElse(BoundedWindow.TIMESTAMP_MIN_VALUE.getMillis());
    }

    private static long millis(long seconds, int nanos) {
      return seconds * 1_000 + nanos / 1_000_000;
    }
  }
}
