for (const button of document.querySelectorAll(".sql button")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.nextElementSibling.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

// A figure is saved as one picture: its panels where the page has them, on white.
const picture = (panels) => {
  const box = panels.getBoundingClientRect(), names = "http://www.w3.org/2000/svg";
  const whole = document.createElementNS(names, "svg"), paper = document.createElementNS(names, "rect");
  let width = 0, height = 0;
  whole.append(paper);
  for (const panel of panels.querySelectorAll("svg")) {
    const at = panel.parentElement.getBoundingClientRect(), copy = panel.cloneNode(true);
    copy.setAttribute("x", at.left - box.left);
    copy.setAttribute("y", at.top - box.top);
    width = Math.max(width, at.left - box.left + panel.width.baseVal.value);
    height = Math.max(height, at.top - box.top + panel.height.baseVal.value);
    whole.append(copy);
  }
  for (const [key, value] of Object.entries({ xmlns: names, width, height })) whole.setAttribute(key, value);
  for (const [key, value] of Object.entries({ width, height, fill: "#fff" })) paper.setAttribute(key, value);
  return { text: new XMLSerializer().serializeToString(whole), width, height };
};
const save = (blob, name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
for (const button of document.querySelectorAll("button[data-save]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const { text, width, height } = picture(button.closest("div").querySelector(".panels"));
    const svg = new Blob([text], { type: "image/svg+xml" });
    if (button.dataset.save === "svg") return save(svg, `${button.dataset.name}.svg`);
    const image = new Image(), canvas = document.createElement("canvas"), scale = 2;
    image.onload = () => {
      [canvas.width, canvas.height] = [scale * width, scale * height];
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(blob, `${button.dataset.name}.png`));
    };
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  });
}

// The contents show where one is.
const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    for (const a of links.values()) a.removeAttribute("aria-current");
    const link = links.get(target.id);
    link.setAttribute("aria-current", "true");
    const nav = document.querySelector("nav"), at = link.offsetTop - nav.clientHeight / 2;
    if (link.offsetParent) nav.scrollTo({ top: at, left: link.offsetLeft - 24 });
  }
}, { rootMargin: "0px 0px -70% 0px" });
for (const id of links.keys()) seen.observe(document.getElementById(id));
