const zoom = document.querySelector("#zoom");
document.querySelectorAll("figure button").forEach(button => button.addEventListener("click", () => {
  const image = button.querySelector("img");
  zoom.firstElementChild.src = image.src;
  zoom.firstElementChild.alt = image.alt;
  zoom.showModal();
}));
zoom.addEventListener("click", () => zoom.close());
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(item => { item.open = true; }));
