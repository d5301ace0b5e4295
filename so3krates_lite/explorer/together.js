// Takes the new states of many widgets out of one message, so that all views change at once.

function initialize({ model }) {
  let done = Promise.resolve();
  const apply = async (updates, buffers) => {
    let next = 0;
    const models = updates.map(({ model_id }) => model.widget_manager.get_model(model_id));
    (await Promise.all(models)).forEach((widget, k) => {
      const { state, buffer_paths } = updates[k];
      for (const path of buffer_paths) {
        const last = path.pop();
        path.reduce((part, name) => part[name], state)[last] = buffers[next];
        next += 1;
      }
      widget.set_state(state);
    });
  };
  model.on("msg:custom", (updates, buffers) => {
    done = done.then(() => apply(updates, buffers)).catch(console.error);
  });
  model.set("ready", true);
  model.save_changes();
}

export default { initialize };
