// Gradio takes the box away while it answers; whoever wrote there goes on writing there.
addEventListener("keydown", ({key, target, isComposing}) => {
  if (key !== "Enter" || isComposing || target.tagName !== "TEXTAREA" || !target.closest("#talk")) return;
  let away = false, left = 6000;
  const wait = setInterval(() => {
    const box = document.querySelector("#talk textarea");
    if (away && !box.disabled && document.activeElement === document.body) box.focus();
    if (away && !box.disabled || --left < 0) clearInterval(wait);
    away = box.disabled;
  }, 100);
}, true);
